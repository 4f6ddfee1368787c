package exabgp

// pipeBuffer is PIPE_BUF of linux/limits.h: what the kernel writes to a pipe in one piece, so that lines of several writers never mix.
const pipeBuffer = 4096
