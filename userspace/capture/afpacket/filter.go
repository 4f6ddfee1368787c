package afpacket

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Instruction is one instruction of a classic BPF program (struct sock_filter of linux/filter.h). A program sees the frame as it is in
// memory: an outer VLAN tag has been taken off, and is told by the extensions that linux/filter.h calls SKF_AD_VLAN_TAG and _PRESENT.
type Instruction struct {
	Op     uint16
	JT, JF uint8
	K      uint32
}

// What the programs here are made of (linux/bpf_common.h, linux/filter.h).
const (
	opLoadWord     = 0x20 // BPF_LD | BPF_W | BPF_ABS
	opJumpAtLeast  = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	opReturn       = 0x06 // BPF_RET | BPF_K
	randomWord     = 0xfffff000 + 56
	maxInstruction = 4096 // BPF_MAXINSNS
)

// program is what the kernel runs for each frame: chance first, then the filter; and no more of a frame than is looked at is copied.
// The filter's own lengths are kept where they are shorter.
func program(o *Options) []Instruction {
	snap := uint32(o.SnapLength)
	var p []Instruction
	if n := uint64(o.KernelSampling); n > 1 {
		limit := uint32((1<<32 + n/2) / n)
		p = append(p, Instruction{Op: opLoadWord, K: randomWord}, Instruction{Op: opJumpAtLeast, JF: 1, K: limit}, Instruction{Op: opReturn})
	}
	for _, i := range o.Filter {
		if i.Op == opReturn {
			i.K = min(i.K, snap)
		}
		p = append(p, i)
	}
	if len(o.Filter) == 0 {
		p = append(p, Instruction{Op: opReturn, K: snap})
	}
	return p
}

// ParseFilter reads a program as `tcpdump -ddd EXPRESSION` prints it: the number of instructions, then one per line, in decimal
// numbers. Whether it makes sense, the kernel says when it is put to use.
func ParseFilter(text string) ([]Instruction, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	n, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || n != len(lines)-1 {
		return nil, fmt.Errorf("read filter: the first line must be the number of lines that follow, %d, as tcpdump -ddd prints it", len(lines)-1)
	}
	if n == 0 || n > maxInstruction {
		return nil, fmt.Errorf("read filter: %d instructions; there must be 1 to %d", n, maxInstruction)
	}
	var program []Instruction
	for i, line := range lines[1:] {
		instruction, err := parseInstruction(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("read filter: line %d: %w", i+2, err)
		}
		program = append(program, instruction)
	}
	return program, nil
}

func parseInstruction(fields []string) (Instruction, error) {
	if len(fields) != 4 {
		return Instruction{}, fmt.Errorf("%d numbers; an instruction has 4", len(fields))
	}
	op, errOp := strconv.ParseUint(fields[0], 10, 16)
	jt, errJT := strconv.ParseUint(fields[1], 10, 8)
	jf, errJF := strconv.ParseUint(fields[2], 10, 8)
	k, errK := strconv.ParseUint(fields[3], 10, 32)
	return Instruction{uint16(op), uint8(jt), uint8(jf), uint32(k)}, errors.Join(errOp, errJT, errJF, errK)
}
