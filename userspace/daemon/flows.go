package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"weir/flowcollect"
	"weir/flowcollect/filter"
	"weir/userspace/config"
	"weir/userspace/networks"
	"weir/userspace/traffic"
)

// flowWorkers is how many goroutines decode flow records: each has cells of its own.
func flowWorkers(cfg *config.Config) int {
	if !cfg.Flows.Collects() {
		return 0
	}
	return flowcollect.Workers(flowOptions(cfg))
}

// flowSource collects flow records and has them counted by workers.
type flowSource struct {
	collector *flowcollect.Collector
	filters   *flowFilters
	table     atomic.Pointer[networks.Table] // of the configuration in force: workers look at it
}

// openFlows opens the sockets of flow collection.
func (d *daemon) openFlows(ctx context.Context, cfg *config.Config) error {
	if !cfg.Flows.Collects() {
		return nil
	}
	filters, err := newFlowFilters(cfg)
	if err != nil {
		return err
	}
	s := &flowSource{filters: filters}
	s.table.Store(d.world.table)
	o := flowOptions(cfg)
	o.Ours = func(a netip.Addr) bool {
		_, ours := s.table.Load().Group(a)
		return ours
	}
	o.Namespace = d.opts.Namespace
	o.Log = d.opts.Log
	o.Sink = func(i int) func(*traffic.Flow) { return d.workers[i].flow }
	o.Tick = func(i int, now time.Time) { d.workers[i].tick(now) }
	o.Frame = d.frames.ParseLink
	o.Filter = filters.instance()
	if s.collector, err = flowcollect.New(o); err != nil {
		return err
	}
	if err := s.collector.Listen(ctx); err != nil {
		return err
	}
	d.flows = s
	return nil
}

// flowOptions is flow collection's part of the configuration.
func flowOptions(cfg *config.Config) flowcollect.Options {
	f := &cfg.Flows
	workers := f.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return flowcollect.Options{
		Workers:       workers,
		Listen:        f.Listen,
		TCP:           f.TCP,
		ReceiveBuffer: int(f.ReceiveBuffer),
		Allow:         f.Allow,
		MaxExporters:  f.MaxExporters,
		MaxTemplates:  f.MaxTemplates,
		TemplateLife:  f.TemplateLife,
		TemplatePath:  f.Templates,
		UseAgent:      f.UseAgentAddress,
		Exporters:     exporterOptions(cfg),
	}
}

func exporterOptions(cfg *config.Config) []flowcollect.ExporterOptions {
	sides := map[config.ExporterDirection]traffic.FlowSide{config.ExporterIngress: traffic.SideIngress, config.ExporterEgress: traffic.SideEgress}
	var out []flowcollect.ExporterOptions
	for _, e := range cfg.Flows.Exporters {
		out = append(out, flowcollect.ExporterOptions{
			Prefix: e.Match, Name: e.Name, Rate: e.SamplingRate, InterfaceRates: e.InterfaceRates, DomainRates: e.DomainRates,
			Side: sides[e.Direction], OnlyInterfaces: e.OnlyInterfaces, IgnoreInterfaces: e.IgnoreInterfaces, Group: e.Group,
		})
	}
	return out
}

// enforce puts what a reload can change in force: exporters, who is listened to, filters.
func (s *flowSource) enforce(cfg *config.Config, table *networks.Table, filters *flowFilters) {
	if s == nil {
		return
	}
	s.table.Store(table)
	s.filters = filters
	s.collector.Reconfigure(exporterOptions(cfg), cfg.Flows.Allow, filters.instance())
}

// flowFilters are the filters of flow records: rules first, then a script.
type flowFilters struct {
	rules  *filter.Rules  // nil: none
	script *filter.Script // nil: none
}

func newFlowFilters(cfg *config.Config) (*flowFilters, error) {
	f := &flowFilters{}
	var err error
	if len(cfg.Flows.Filters.Rules) > 0 {
		if f.rules, err = filter.Compile(cfg.Flows.Filters.Rules); err != nil {
			return nil, fmt.Errorf("compile flow filters: %w", err)
		}
	}
	if cfg.Flows.Filters.Script != "" {
		if f.script, err = filter.LoadWith(cfg.Flows.Filters.Script, filter.Options{Timeout: cfg.Flows.Filters.Timeout}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// instance makes a filter for each worker that asks; nil when there is nothing to filter.
func (f *flowFilters) instance() func() func(*traffic.Flow) bool {
	if f.rules == nil && f.script == nil {
		return nil
	}
	return func() func(*traffic.Flow) bool {
		switch {
		case f.script == nil:
			return f.rules.New().Keep
		case f.rules == nil:
			return f.script.New().Keep
		}
		rules, script := f.rules.New(), f.script.New()
		return func(r *traffic.Flow) bool { return rules.Keep(r) && script.Keep(r) }
	}
}
