package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/api/weirpb/weirpbconnect"
)

func exportersCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "exporters", Usage: "who sends flow records, how well, and what to do about what is wrong",
		Flags: controlFlags(
			&cli.StringFlag{Name: "exporter", Usage: "only those with this `ADDRESS|NAME`"},
			&cli.IntFlag{Name: "limit", Usage: "at most `N` rows", Value: api.MaxRows},
			&cli.BoolFlag{Name: "interfaces", Usage: "also the counters of their interfaces, as far as they send them"}),
		Action: func(cc *cli.Context) error {
			if _, err := arguments(cc); err != nil {
				return err
			}
			limit, err := rows(cc)
			if err != nil {
				return err
			}
			answer, err := call(cc, &weirpb.ExportersRequest{Exporter: cc.String("exporter"), Limit: limit}, weirpbconnect.WeirClient.Exporters)
			if err != nil {
				return err
			}
			if cc.Bool("json") {
				return printMessage(term, answer)
			}
			return printExporters(term, answer, cc.Bool("interfaces"))
		},
	}
}

func printExporters(term terminal, answer *weirpb.ExportersResponse, interfaces bool) error {
	switch {
	case !answer.GetConfigured():
		return term.print("no flow records are collected: \"flows.listen\" is not configured\n")
	case len(answer.GetExporters()) == 0:
		return term.print("nothing was heard from any exporter yet\n")
	}
	var table, counters [][]cell
	for _, e := range answer.GetExporters() {
		table = append(table, exporterRow(e))
		counters = append(counters, interfaceRows(e)...)
	}
	err := term.table([]string{"EXPORTER", "NAME", "PROTOCOLS", "DATAGRAMS", "RECORDS", "PACKETS", "BYTES", "LOST", "SAMPLING", "LEFT OUT", "TEMPLATES", "CLOCK", "TIMEOUTS", "LAST SEEN"}, table)
	if err == nil {
		err = cutOff(term, "exporters", len(answer.GetExporters()), answer.GetTotal())
	}
	if err == nil && interfaces && len(counters) > 0 {
		err = term.print("\n")
		if err == nil {
			err = term.table([]string{"EXPORTER", "INTERFACE", "STATE", "BIT/S", "IN PACKETS", "IN BYTES", "IN DROPS", "IN ERRORS", "OUT PACKETS", "OUT BYTES", "OUT DROPS", "OUT ERRORS"}, counters)
		}
	}
	if err != nil {
		return err
	}
	return printProblems(term, answer.GetExporters())
}

func exporterRow(e *weirpb.Exporter) []cell {
	lost := number(si(float64(e.GetLost())))
	if e.GetLost() > 0 {
		lost = number(fmt.Sprintf("%s (%.2g %%)", si(float64(e.GetLost())), e.GetLostPercent())).in(warn)
	}
	sampling := text("unknown").in(bad)
	if e.GetSamplingRate() > 0 {
		sampling = text(fmt.Sprintf("1:%d %s", e.GetSamplingRate(), e.GetSamplingOrigin()))
	}
	templates := number(strconv.FormatUint(e.GetTemplates(), 10))
	if e.GetUnknownTemplates() > 0 {
		templates.text += fmt.Sprintf(", %s unknown", si(float64(e.GetUnknownTemplates())))
	}
	timeouts := "-"
	if e.GetActiveTimeout() != nil || e.GetInactiveTimeout() != nil {
		timeouts = seconds(e.GetActiveTimeout()) + "/" + seconds(e.GetInactiveTimeout())
	}
	return []cell{
		text(e.GetAddress()), text(e.GetName()), text(strings.Join(e.GetProtocols(), ",")), number(si(float64(e.GetDatagrams()))), number(si(float64(e.GetRecords()))),
		number(si(float64(e.GetPackets()))), number(si(float64(e.GetBytes()))), lost, sampling, leftOut(e), templates,
		text(clock(e.GetClockOffset().AsDuration())), text(timeouts), text(when(stamp(e.GetLastSeen()))),
	}
}

// leftOut says how many records were not counted, and why.
func leftOut(e *weirpb.Exporter) cell {
	var some []string
	for _, part := range []struct {
		name string
		n    uint64
	}{{"withheld", e.GetWithheld()}, {"duplicates", e.GetDuplicates()}, {"filtered", e.GetFiltered()}, {"errors", e.GetErrors()}} {
		if part.n > 0 {
			some = append(some, part.name+" "+si(float64(part.n)))
		}
	}
	c := text(strings.Join(some, ", "))
	if e.GetWithheld() > 0 || e.GetErrors() > 0 {
		c.style = warn
	}
	return c
}

// seconds is a timeout, or "?" while it is unknown.
func seconds(d *durationpb.Duration) string {
	if d == nil {
		return "?"
	}
	return d.AsDuration().Round(time.Second).String()
}

// clock is how far a clock is ahead (+) or behind (-).
func clock(offset time.Duration) string {
	switch rounded := offset.Round(time.Millisecond); {
	case rounded == 0:
		return "right"
	case rounded > 0:
		return "+" + rounded.String()
	default:
		return rounded.String()
	}
}

func interfaceRows(e *weirpb.Exporter) [][]cell {
	var table [][]cell
	for _, i := range e.GetInterfaces() {
		state := text("down").in(bad)
		if i.GetUp() {
			state = text("up").in(good)
		}
		row := []cell{text(e.GetAddress()), number(strconv.FormatUint(uint64(i.GetIndex()), 10)), state, number(si(float64(i.GetSpeed())))}
		for _, n := range []uint64{
			i.GetInPackets(), i.GetInBytes(), i.GetInDrops(), i.GetInErrors(), i.GetOutPackets(), i.GetOutBytes(), i.GetOutDrops(), i.GetOutErrors(),
		} {
			row = append(row, number(si(float64(n))))
		}
		table = append(table, row)
	}
	return table
}

// printProblems has a paragraph for each problem: who and what, and below it what to do.
func printProblems(term terminal, list []*weirpb.Exporter) error {
	for _, e := range list {
		who := printable(e.GetAddress())
		if e.GetName() != "" {
			who = printable(e.GetName()) + " (" + who + ")"
		}
		for _, p := range e.GetProblems() {
			if err := term.print("\n%s: %s\n    %s\n", who, term.paint(text(p.GetSentence()).in(warn)), printable(p.GetRemedy())); err != nil {
				return err
			}
		}
	}
	return nil
}

// printCollector is the part of the status about flow records.
func printCollector(term terminal, f *weirpb.FlowCollector) error {
	if f == nil {
		return nil
	}
	line := fmt.Sprintf("%s records in %s datagrams of %d exporters", si(float64(f.GetRecords())), si(float64(f.GetDatagrams())), f.GetExporters())
	var lost []string
	for _, part := range []struct {
		name string
		n    uint64
	}{{"dropped by the kernel", f.GetKernelDropped()}, {"refused", f.GetRefused()}, {"over max_exporters", f.GetOverLimit()}} {
		if part.n > 0 {
			lost = append(lost, part.name+" "+si(float64(part.n)))
		}
	}
	for _, t := range f.GetUndecodable() {
		if t.GetCount() > 0 {
			lost = append(lost, fmt.Sprintf("undecodable %s %s", printable(t.GetName()), si(float64(t.GetCount()))))
		}
	}
	if f.GetReceiveBuffer() < f.GetReceiveBufferAsked() {
		lost = append(lost, fmt.Sprintf("receive buffer only %s of %s bytes", si(float64(f.GetReceiveBuffer())), si(float64(f.GetReceiveBufferAsked()))))
	}
	if len(lost) > 0 {
		line += ", " + term.paint(text(strings.Join(lost, ", ")).in(warn))
	}
	if err := term.print("flows    %s\n", line); err != nil {
		return err
	}
	x := f.GetFilter()
	if x == nil {
		return nil
	}
	line = fmt.Sprintf("%s calls, %s records dropped, %s rescaled", si(float64(x.GetCalls())), si(float64(x.GetDropped())), si(float64(x.GetRescaled())))
	switch {
	case x.GetSwitchedOff():
		line += ", " + term.paint(text("switched off until the next reload, because it took too long: "+x.GetLastError()).in(bad))
	case x.GetErrors()+x.GetRunaways() > 0:
		line += ", " + term.paint(text(fmt.Sprintf("%d errors, %d runaways, the last: %s", x.GetErrors(), x.GetRunaways(), x.GetLastError())).in(warn))
	}
	return term.print("filter   %s\n", line)
}

// printCaptures has a row for each interface that another engine than xdp reads from.
func printCaptures(term terminal, list []*weirpb.Interface) error {
	var table [][]cell
	for _, i := range list {
		c := i.GetCapture()
		if c == nil {
			continue
		}
		problem := text(c.GetError())
		if c.GetError() != "" {
			problem.style = bad
		}
		table = append(table, []cell{
			text(i.GetName()), text(i.GetEngine()), number(strconv.FormatUint(uint64(c.GetWorkers()), 10)), number(si(float64(c.GetReceived()))),
			dropped(c.GetKernelDropped()), dropped(c.GetDropped()), number(strconv.FormatUint(c.GetRestarts(), 10)), problem,
		})
	}
	if len(table) == 0 {
		return nil
	}
	if err := term.table([]string{"INTERFACE", "ENGINE", "WORKERS", "FRAMES", "KERNEL DROPPED", "DROPPED", "RESTARTS", "ERROR"}, table); err != nil {
		return err
	}
	return term.print("\n")
}

func dropped(n uint64) cell {
	c := number(si(float64(n)))
	if n > 0 {
		c.style = warn
	}
	return c
}
