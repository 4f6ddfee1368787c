package vmtest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const good = `@vmtest kernel 6.1.0-56-cloud-amd64
@vmtest test weir/x
=== RUN   TestA
=== RUN   TestA/native
=== RUN   TestA/tcx
    a_test.go:7: first
    a_test.go:9: tcx: not supported
--- PASS: TestA (0.12s)
    --- PASS: TestA/native (0.04s)
    --- SKIP: TestA/tcx (0.04s)
PASS
@vmtest exit weir/x ok
@vmtest done
`

func report(text string) *Report { return ParseReport(strings.ReplaceAll(text, "\n", "\r\n")) }

func TestParseReport(t *testing.T) {
	want := &Report{
		Release: "6.1.0-56-cloud-amd64",
		Exits:   map[string]string{"weir/x": "ok"},
		Tests: map[string]Result{
			"weir/x TestA":        {Status: "PASS"},
			"weir/x TestA/native": {Status: "PASS"},
			"weir/x TestA/tcx":    {Status: "SKIP", Reason: "a_test.go:9: tcx: not supported"},
		},
		Done: true,
	}
	if diff := cmp.Diff(report(good), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestFailures(t *testing.T) {
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(good) }
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"none", good, nil},
		{"silence", "", []string{"the guest did not come to its end", "weir/x: did not end"}},
		{"hung", good[:strings.Index(good, "--- PASS")], []string{
			"the guest did not come to its end", "weir/x TestA/native: RUN ", "weir/x TestA/tcx: RUN a_test.go:9: tcx: not supported", "weir/x TestA: RUN ", "weir/x: did not end",
		}},
		{"one fails", edit("--- PASS: TestA/native", "--- FAIL: TestA/native", "weir/x ok", "weir/x exit status 1"), []string{"weir/x TestA/native: FAIL ", "weir/x: exit status 1"}},
		{"all skipped", edit("--- PASS", "--- SKIP"), []string{"weir/x: no test passed: all were skipped, or no pattern matched"}},
		{"trouble", edit("@vmtest done", "@vmtest trouble insert module /modules/veth.ko: exec format error"), []string{"insert module /modules/veth.ko: exec format error", "the guest did not come to its end"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(report(tt.text).Failures([]Suite{{Package: "weir/x"}}), tt.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	newer := report(strings.NewReplacer("6.1.0-56-cloud-amd64", "7.3", "--- SKIP", "--- PASS").Replace(good))
	got := Table([]string{"5.10", "6.1", "newest"}, map[string]*Report{"6.1": report(good), "newest": newer})
	const want = `| test | 6.1 (6.1.0-56-cloud-amd64) | newest (7.3) |
| --- | --- | --- |
| tests passed | 2 | 3 |
| weir/x TestA/tcx | no | yes |

weir/x TestA/tcx, 6.1: a_test.go:9: tcx: not supported
`
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}
