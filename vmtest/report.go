package vmtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Report is what one guest said.
type Report struct {
	Release  string            // uname -r
	Exits    map[string]string // by package: "ok", or how its test binary ended
	Tests    map[string]Result // by package and test: "weir/loader TestAttach/native"
	Troubles []string
	Done     bool // the guest came to its end
}

// Result is how one test ended.
type Result struct {
	Status string // PASS, SKIP, FAIL; RUN: it began and did not end
	Reason string // last line that it logged
}

// ParseReport reads a guest's report: the lines of `go test -v` between marks. What it does not know, it leaves out.
func ParseReport(text string) *Report {
	r := &Report{Exits: map[string]string{}, Tests: map[string]Result{}}
	var pkg, test string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRight(line, "\r")
		trimmed := strings.TrimLeft(line, " ")
		fields := strings.Fields(trimmed)
		switch {
		case strings.HasPrefix(line, MarkTest):
			pkg, test = strings.TrimPrefix(line, MarkTest), ""
		case strings.HasPrefix(line, MarkExit):
			name, status, _ := strings.Cut(strings.TrimPrefix(line, MarkExit), " ")
			r.Exits[name] = status
		case strings.HasPrefix(line, MarkKernel):
			r.Release = strings.TrimPrefix(line, MarkKernel)
		case strings.HasPrefix(line, MarkTrouble):
			r.Troubles = append(r.Troubles, strings.TrimPrefix(line, MarkTrouble))
		case line == MarkDone:
			r.Done = true
		case strings.HasPrefix(line, "=== ") && len(fields) == 3:
			test = pkg + " " + fields[2]
			if fields[1] == "RUN" {
				r.Tests[test] = Result{Status: "RUN"}
			}
		case strings.HasPrefix(trimmed, "--- ") && len(fields) >= 3:
			name := pkg + " " + fields[2]
			ended := r.Tests[name]
			ended.Status = strings.TrimSuffix(fields[1], ":")
			r.Tests[name] = ended
		case strings.HasPrefix(line, "    ") && test != "":
			running := r.Tests[test]
			running.Reason = trimmed
			r.Tests[test] = running
		}
	}
	return r
}

// Failures returns why the report is no success: one sentence each, none if it is one. suites are what should have run.
func (r *Report) Failures(suites []Suite) []string {
	failures := slices.Clone(r.Troubles)
	if !r.Done {
		failures = append(failures, "the guest did not come to its end")
	}
	for _, s := range suites {
		switch exit, ran := r.Exits[s.Package]; {
		case !ran:
			failures = append(failures, s.Package+": did not end")
		case exit != "ok":
			failures = append(failures, s.Package+": "+exit)
		case !r.passed(s.Package):
			failures = append(failures, s.Package+": no test passed: all were skipped, or no pattern matched")
		}
	}
	for name, t := range r.Tests {
		if t.Status != "PASS" && t.Status != "SKIP" {
			failures = append(failures, fmt.Sprintf("%s: %s %s", name, t.Status, t.Reason))
		}
	}
	slices.Sort(failures)
	return failures
}

func (r *Report) passed(pkg string) bool {
	for name, t := range r.Tests {
		if t.Status == "PASS" && strings.HasPrefix(name, pkg+" ") {
			return true
		}
	}
	return false
}

// Table returns, as Markdown, each test that does not pass under every kernel, with the reasons below; kernels are in the
// order of the columns, and a kernel without a report has none.
func Table(kernels []string, reports map[string]*Report) string {
	kernels = slices.DeleteFunc(slices.Clone(kernels), func(k string) bool { return reports[k] == nil })
	var head, rule, counts strings.Builder
	names := map[string]bool{}
	for _, k := range kernels {
		passed := 0
		for name, t := range reports[k].Tests {
			if t.Status == "PASS" {
				passed++
			} else {
				names[name] = true
			}
		}
		fmt.Fprintf(&head, " %s (%s) |", k, reports[k].Release)
		rule.WriteString(" --- |")
		fmt.Fprintf(&counts, " %d |", passed)
	}
	var body, reasons strings.Builder
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&body, "| %s |", name)
		for _, k := range kernels {
			t, ran := reports[k].Tests[name]
			switch {
			case !ran:
				body.WriteString(" not run |")
				continue
			case t.Status == "PASS":
				body.WriteString(" yes |")
				continue
			case t.Status == "SKIP":
				body.WriteString(" no |")
			default:
				body.WriteString(" FAIL |")
			}
			fmt.Fprintf(&reasons, "%s, %s: %s\n", name, k, t.Reason)
		}
		body.WriteString("\n")
	}
	return fmt.Sprintf("| test |%s\n| --- |%s\n| tests passed |%s\n%s\n%s", head.String(), rule.String(), counts.String(), body.String(), reasons.String())
}
