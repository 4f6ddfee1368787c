package flowcollect

import (
	"os"

	"golang.org/x/sys/unix"
)

// balance has the kernel choose the socket of an address by who sends, and by nothing else: so one exporter always meets the same
// worker, from whatever port it sends. The program sees the datagram's network header at SKF_NET_OFF (linux/filter.h).
func balance(fd, sockets int) error {
	const net = 0xfff00000 // SKF_NET_OFF, -0x100000
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: net + at}
	}
	alu := func(op uint16, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_ALU | op | unix.BPF_K, K: k}
	}
	x := func(op uint16) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_ALU | op | unix.BPF_X} }
	tax := unix.SockFilter{Code: unix.BPF_MISC | unix.BPF_TAX}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: net},
		alu(unix.BPF_RSH, 4),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 4, Jt: 11}, // IPv4: its source alone
		load(8), tax, load(12), x(unix.BPF_XOR), tax, load(16), x(unix.BPF_XOR), tax, load(20), x(unix.BPF_XOR),
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 1},
		load(12),
		alu(unix.BPF_MUL, 0x9e3779b1), // neighbouring addresses go to different sockets
		alu(unix.BPF_RSH, 16),
		alu(unix.BPF_MOD, uint32(sockets)),
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return os.NewSyscallError("balance sockets", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &p))
}
