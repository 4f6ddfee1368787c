package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mostInstructions is BPF_MAXINSNS of linux/bpf_common.h, less what an engine adds itself.
const mostInstructions = 4000

// bytecode decodes a classic BPF program in the form that iptables' bpf match takes and `tcpdump -ddd` prints, its lines joined by commas:
// the number of instructions, then each as four decimal numbers.
func (d *decoder) bytecode(dst *[]Instruction) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "a filter's instructions as `tcpdump -ddd EXPRESSION | tr '\\n' ,` prints them, such as \"1,6 0 0 262144\""
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		parts := strings.Split(strings.TrimRight(text, ", \n"), ",")
		var count int
		var program []Instruction
		if _, err := fmt.Sscanf(parts[0], "%d", &count); err != nil || count != len(parts)-1 || count == 0 || count > mostInstructions {
			d.expected(at, n, what)
			return
		}
		for _, part := range parts[1:] {
			var i Instruction
			if read, err := fmt.Sscanf(strings.TrimSpace(part), "%d %d %d %d", &i.Op, &i.JT, &i.JF, &i.K); err != nil || read != 4 {
				d.errorf(n, "%q: instruction %d, %q, is not four numbers; expected %s", at, len(program)+1, part, what)
				return
			}
			program = append(program, i)
		}
		*dst = program
	}
}
