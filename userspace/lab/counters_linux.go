package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Counter is a count of the host's own IPv4 stack, by its line and name in /proc/net/snmp: "Udp", "NoPorts" is udpNoPorts of
// RFC 4113, "Ip", "InReceives" is ipSystemStatsInReceives of RFC 4293.
func (h *Host) Counter(group, name string) (count uint64, err error) {
	err = h.Do(func() error {
		table, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		count, err = snmpValue(table, group+":", name)
		return err
	})
	return count, err
}

// snmpValue finds a value in the kernel's table: a line of names and a line of values with the same first word.
func snmpValue(table []byte, group, name string) (uint64, error) {
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0] != group {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, field := range fields {
			if i < len(names) && names[i] == name {
				return strconv.ParseUint(field, 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("find %s %s in the kernel's counters: it is not there", group, name)
}
