package afpacket

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgram(t *testing.T) {
	drop, tcp := Instruction{Op: opReturn}, Instruction{Op: 0x30, K: 23}
	chance := func(limit uint32) []Instruction {
		return []Instruction{{Op: opLoadWord, K: randomWord}, {Op: opJumpAtLeast, JF: 1, K: limit}, drop}
	}
	for _, tt := range []struct {
		name string
		opts Options
		want []Instruction
	}{
		{"all", Options{SnapLength: 256}, []Instruction{{Op: opReturn, K: 256}}},
		{"one in one", Options{SnapLength: 256, KernelSampling: 1}, []Instruction{{Op: opReturn, K: 256}}},
		{"one in two", Options{SnapLength: 256, KernelSampling: 2}, append(chance(1<<31), Instruction{Op: opReturn, K: 256})},
		{"one in three", Options{SnapLength: 96, KernelSampling: 3}, append(chance(1431655765), Instruction{Op: opReturn, K: 96})},
		{"filter", Options{SnapLength: 256, Filter: []Instruction{tcp, {Op: opReturn, K: 262144}, {Op: opReturn, K: 64}, drop}},
			[]Instruction{tcp, {Op: opReturn, K: 256}, {Op: opReturn, K: 64}, drop}},
		{"both", Options{SnapLength: 256, KernelSampling: 1000, Filter: []Instruction{tcp, drop}}, append(chance(4294967), tcp, drop)},
	} {
		if diff := cmp.Diff(program(&tt.opts), tt.want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", tt.name, diff)
		}
	}
}

// udp is what `tcpdump -ddd -y EN10MB udp` prints.
const udp = `12
40 0 0 12
21 0 2 2048
48 0 0 23
21 6 7 17
21 0 6 34525
48 0 0 20
21 3 0 17
21 0 3 44
48 0 0 54
21 0 1 17
6 0 0 262144
6 0 0 0
`

func TestParseFilter(t *testing.T) {
	got, err := ParseFilter(udp)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 12 {
		t.Fatalf("got %d instructions", len(got))
	}
	if diff := cmp.Diff(got[2:4], []Instruction{{48, 0, 0, 23}, {21, 6, 7, 17}}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "first line must be the number of lines that follow, 0"},
		{"an expression", "udp port 53", "first line must be"},
		{"none", "0\n", "0 instructions; there must be 1 to 4096"},
		{"too few", "2\n6 0 0 0\n", "first line must be the number of lines that follow, 1"},
		{"too many", "4097" + strings.Repeat("\n6 0 0 0", 4097), "4097 instructions"},
		{"three numbers", "1\n6 0 0\n", "line 2: 3 numbers; an instruction has 4"},
		{"too large", "2\n6 0 0 0\n65536 0 256 4294967296\n", "line 3: "},
	} {
		if got, err := ParseFilter(tt.text); err == nil || got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}
