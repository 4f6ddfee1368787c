package doctor

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"weir/userspace/api"
	"weir/userspace/api/weirpb"
	"weir/userspace/config"
	"weir/userspace/engines"
)

// examineExporters asks the running daemon what is wrong with its exporters; nothing when none runs, which another finding says.
func examineExporters(ctx context.Context, cfg *config.Config) []Finding {
	if !cfg.Flows.Collects() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	client, err := api.Dial(ctx, cfg.API.Socket)
	if err != nil {
		return nil
	}
	answer, err := client.Exporters(ctx, connect.NewRequest(&weirpb.ExportersRequest{}))
	if err != nil {
		return []Finding{{Name: "exporters", Status: Warn, Detail: err.Error(), Remedy: "see `weir exporters`"}}
	}
	var all []Finding
	for _, e := range answer.Msg.GetExporters() {
		for _, p := range e.GetProblems() {
			all = append(all, Finding{Name: "exporter " + e.GetAddress(), Status: Warn, Detail: p.GetSentence(), Remedy: p.GetRemedy()})
		}
	}
	if len(all) == 0 {
		detail := fmt.Sprintf("%d exporters, nothing wrong with any", answer.Msg.GetTotal())
		return []Finding{{Name: "exporters", Status: OK, Detail: detail}}
	}
	return all
}

// examineEngines says whether this machine has the engines that interfaces are configured with.
func examineEngines(ctx context.Context, cfg *config.Config) []Finding {
	wanted := map[string]bool{}
	for _, i := range cfg.Interfaces {
		if i.Engine != config.EngineXDP {
			wanted[string(i.Engine)] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	var all []Finding
	for _, a := range engines.List(ctx) {
		if !wanted[a.Name] {
			continue
		}
		f := Finding{Name: "engine " + a.Name, Status: OK, Detail: a.Why}
		if !a.Available {
			f.Status, f.Remedy = Missing, a.Remedy
		}
		all = append(all, f)
	}
	return all
}
