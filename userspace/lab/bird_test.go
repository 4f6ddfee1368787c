package lab

import (
	"bufio"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	for _, tt := range []struct{ name, in, want, fault string }{
		{name: "one line", in: "0001 BIRD 2.0.12 ready.\n", want: "BIRD 2.0.12 ready.\n"},
		{name: "a table", in: "2002-Name Proto\n1002-device1 Device\n weir BGP\n0000 \n9999 not of this reply\n", want: "Name Proto\ndevice1 Device\nweir BGP\n\n"},
		{name: "log in between", in: "1007-a\n+<INFO> something\n0000 \n", want: "a\n\n"},
		{name: "an error", in: "8001 Network not found\n", fault: "BIRD says: Network not found"},
		{name: "a wrong command", in: "9001 syntax error\n", fault: "syntax error"},
		{name: "cut off", in: "1007-a\n", want: "a\n", fault: "unexpected EOF"},
		{name: "no code", in: "hello\n", fault: `"hello" is no line`},
		{name: "no separator", in: "1007xa\n", fault: "is no line"},
		{name: "empty line", in: "\n", fault: "is no line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readReply(bufio.NewReader(strings.NewReader(tt.in)))
			if got != tt.want || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.fault)
			}
		})
	}
}
