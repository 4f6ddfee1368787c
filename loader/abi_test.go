package loader

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"weir/userspace/traffic"
)

// enumOf returns the names of an enum's values in bpf/abi.h without their common prefix and in lower case, in order; all its
// values count up from 0.
func enumOf(t *testing.T, name string) []string {
	t.Helper()
	header, err := os.ReadFile("../bpf/abi.h")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)\nenum ` + name + ` \{(.*?)\n\};`).FindSubmatch(header)
	if block == nil {
		t.Fatalf("bpf/abi.h has no enum %s", name)
	}
	comment := regexp.MustCompile(`(?s)/\*.*?\*/`)
	var names []string
	for value := range strings.SplitSeq(comment.ReplaceAllString(string(block[1]), ""), ",") {
		value = strings.ToLower(strings.TrimSpace(value))
		if value == "" {
			continue
		}
		if strings.Contains(value, "=") {
			t.Fatalf("enum %s gives %s a value of its own", name, value)
		}
		names = append(names, strings.TrimPrefix(value, name+"_"))
	}
	return names
}

// Each value of an enum that crosses to Go has a name there, and the same one.
func TestEnumsHaveGoNames(t *testing.T) {
	for name, enum := range map[string]struct {
		goName func(int) string
		count  int
	}{
		"reason":    {func(v int) string { return traffic.Reason(v).String() }, int(traffic.ReasonCount)},
		"anomaly":   {func(v int) string { return traffic.Anomaly(v).String() }, int(traffic.AnomalyCount)},
		"direction": {func(v int) string { return traffic.Direction(v).String() }, 2},
		"action":    {func(v int) string { return traffic.Action(v).String() }, int(traffic.ActionCount)},
		"role":      {func(v int) string { return Role(v).String() }, int(roleCount)},
	} {
		values := enumOf(t, name)
		if len(values) != enum.count+1 || values[enum.count] != "count" {
			t.Errorf("enum %s has the values %v, Go has %d", name, values, enum.count)
			continue
		}
		for v, want := range values[:enum.count] {
			if got := enum.goName(v); got != want {
				t.Errorf("%s %d is %s in C, which Go calls %s", name, v, want, got)
			}
		}
	}
}
