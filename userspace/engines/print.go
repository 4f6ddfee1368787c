package engines

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// PrintJSON prints a list as one line for programs: {"engines":[{"name":"xdp","available":true,"why":"...","remedy":"..."}]}.
func PrintJSON(out io.Writer, all []Availability) error {
	return json.NewEncoder(out).Encode(struct {
		Engines []Availability `json:"engines"`
	}{all})
}

// PrintTable prints a list for people.
func PrintTable(out io.Writer, all []Availability) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintln(w, "ENGINE\tHERE\tFOUND"); err != nil {
		return err
	}
	for _, a := range all {
		here := "no"
		if a.Available {
			here = "yes"
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\n", a.Name, here, a.Why); err != nil {
			return err
		}
		if a.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "\t\t-> %s\n", a.Remedy); err != nil {
			return err
		}
	}
	return w.Flush()
}
