//go:build !linux

package exabgp

// pipeBuffer is PIPE_BUF of limits.h: what the kernel writes to a pipe in one piece, so that lines of several writers never mix.
const pipeBuffer = 512
