package lab

import "testing"

func TestSNMPValue(t *testing.T) {
	table := []byte("Ip: Forwarding InReceives\nIp: 1 42\nUdp: NoPorts\nUdp: 7\n")
	for _, tt := range []struct {
		group, name string
		want        uint64
		ok          bool
	}{
		{"Ip:", "InReceives", 42, true},
		{"Udp:", "NoPorts", 7, true},
		{"Udp:", "InReceives", 0, false},
		{"Tcp:", "InReceives", 0, false},
	} {
		got, err := snmpValue(table, tt.group, tt.name)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s %s: got %d, %v; want %d", tt.group, tt.name, got, err, tt.want)
		}
	}
}

func TestSNMPValueOfBrokenTables(t *testing.T) {
	const table = "Tcp: A NoPorts\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors\nUdp: 10 20 30\n"
	if got, err := snmpValue([]byte(table), "Udp:", "NoPorts"); err != nil || got != 20 {
		t.Errorf("got %d, %v; want 20", got, err)
	}
	for _, broken := range []string{"", "Udp: NoPorts\n", "Udp: A\nUdp: 1\n", "Udp: A NoPorts\nUdp: 1 x\n", "Udp: A\nUdp: 1 2 3\n"} {
		if _, err := snmpValue([]byte(broken), "Udp:", "NoPorts"); err == nil {
			t.Errorf("a value was found in %q", broken)
		}
	}
}
