// Package doctor finds out what this kernel, these interfaces and this user may do, and names the remedy for what is missing.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"weir/loader"
	"weir/userspace/config"
)

// Options says what to look at.
type Options struct {
	ConfigPath string // its interfaces, files and socket; empty: all interfaces, and the paths of an empty configuration
	JSON       bool
}

// Status is what a finding comes to.
type Status string

const (
	OK      Status = "ok"
	Warn    Status = "warn"    // Weir works, with less
	Missing Status = "missing" // `weir run` fails, or does not do what the configuration says
)

// Finding is the answer to one question.
type Finding struct {
	Name      string `json:"name"`
	Interface string `json:"interface,omitempty"` // empty: about the whole machine
	Status    Status `json:"status"`
	Detail    string `json:"detail"`
	Remedy    string `json:"remedy,omitempty"` // also of some that are ok but could be better
}

// Run prints what was found: as a table, or as one line of JSON. It changes nothing. The error names what is missing.
func Run(ctx context.Context, o Options, out io.Writer) error {
	all := examine(ctx, o.ConfigPath, loader.Probe)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("examine this machine: %w", err)
	}
	var missing []string
	for _, f := range all {
		if f.Status == Missing {
			missing = append(missing, strings.TrimSpace(f.Name+" "+f.Interface))
		}
	}
	printed := printTable
	if o.JSON {
		printed = printLine
	}
	if err := printed(out, all); err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

type probe func(ctx context.Context, interfaces ...string) []loader.Finding

func examine(ctx context.Context, configPath string, probe probe) []Finding {
	cfg, all := readConfig(configPath)
	var interfaces []string
	for _, i := range cfg.Interfaces {
		if i.Engine == config.EngineXDP {
			interfaces = append(interfaces, i.Name)
		}
	}
	var found []Finding
	for _, f := range probe(ctx, interfaces...) {
		found = append(found, judge(f, len(interfaces) > 0))
	}
	return append(append(found, all...), examineConfig(ctx, cfg)...)
}

// judge weighs a finding of the loader's. What is wrong with an interface that nobody has configured is no more than a warning.
func judge(f loader.Finding, configured bool) Finding {
	out := Finding{Name: f.Name, Interface: f.Interface, Status: OK, Detail: f.Detail, Remedy: f.Remedy}
	switch {
	case f.OK:
	case f.Name == "xdp_program" && strings.HasPrefix(f.Detail, `"weir_`):
		out.Detail, out.Remedy = f.Detail+": Weir's own", "" // a daemon is at work
	case f.Optional, f.Interface != "" && !configured:
		out.Status = Warn
	default:
		out.Status = Missing
	}
	return out
}

func printLine(out io.Writer, all []Finding) error {
	healthy := true
	for _, f := range all {
		healthy = healthy && f.Status != Missing
	}
	return json.NewEncoder(out).Encode(struct {
		OK       bool      `json:"ok"`
		Findings []Finding `json:"findings"`
	}{healthy, all})
}

func printTable(out io.Writer, all []Finding) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(w, "STATUS\tWHAT\tFOUND"); err != nil {
		return err
	}
	for _, f := range all {
		what := f.Name
		if f.Interface != "" {
			what = f.Interface + " " + f.Name
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\n", f.Status, printable(what), printable(f.Detail)); err != nil {
			return err
		}
		if f.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\t\t-> %s\n", printable(f.Remedy)); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printable makes what came from elsewhere harmless to terminal and table.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
