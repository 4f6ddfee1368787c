package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir/userspace/lab"
)

// told is what a webhook was told, as far as tests look at it.
type told struct {
	Kind, Target, Trip string
	Ban                *struct{ Drop bool }
	Sources            []struct{ Source string }
}

// TestExport: traffic and attacks come to stores and people, and those of them that are away hold up nobody.
func TestExport(t *testing.T) {
	b := newBed(t)
	listen := func() net.Listener {
		t.Helper()
		var l net.Listener
		if err := b.router.Do(func() (err error) {
			l, err = net.Listen("tcp", "127.0.0.1:0")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	hook, carbon := listen(), listen()
	changes, lines := &feed[told]{}, &feed[string]{}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c told
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		changes.add(c)
	})}
	go server.Serve(hook) //nolint:errcheck // it ends when it is closed
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			c, err := carbon.Accept()
			if err != nil {
				return
			}
			for s := bufio.NewScanner(c); s.Scan(); {
				lines.add(s.Text())
			}
		}
	}()

	// Nobody listens at port 1.
	startDaemon(t, b.router, "", routerConfig("native", false, hostThreshold)+fmt.Sprintf(`
export:
  graphite: {address: "%s", every: 1s}
  redis: {addresses: ["127.0.0.1:1"], stream: attacks}
notify:
  webhooks: [{url: "http://%s/"}, {url: "http://127.0.0.1:1/"}]
  mail: [{server: "127.0.0.1:1", security: none, from: weir@example.net, to: [noc@example.net], wait: 10ms, gather: 10ms}]
  chat: [{url: "discord://TOKEN@1", wait: 10ms, gather: 10ms}]
`, carbon.Addr(), hook.Addr()))
	f := flood(t, floodPPS, lab.FloodOptions{
		Host: b.world, Frame: frame(t, b.world, b.router, "out", worldAddr, victimAddr), Sources: lab.Addresses{Spread: lab.Random, Prefix: prefixes(spoofed)[0]},
	})
	never := make(chan struct{})
	kind := func(kind string) told {
		t.Helper()
		return changes.await(t, "the webhook to be told "+kind, 0, never, func(c told) bool { return c.Kind == kind && c.Target == victimAddr })
	}
	kind("started")
	if c := kind("banned"); c.Ban == nil || !c.Ban.Drop || !strings.HasPrefix(c.Trip, "pps: ") {
		t.Errorf("told of the ban: %+v", c)
	}
	f.blocked(t, "the flood, with stores that are away", b.victim)
	host := "fastnetmon.hosts." + strings.ReplaceAll(victimAddr, ".", "_") + ".incoming.pps "
	lines.await(t, "the victim's rate in Graphite", 0, never, func(line string) bool {
		rest, ok := strings.CutPrefix(line, host)
		return ok && !strings.HasPrefix(rest, "0 ")
	})
	f.stop(t)
	kind("ended")
	var kinds []string
	for _, c := range changes.all() {
		if c.Kind != "described" && c.Kind != "details" {
			kinds = append(kinds, c.Kind)
		}
	}
	if want := []string{"started", "banned", "unbanned", "ended"}; !slices.Equal(kinds, want) {
		t.Errorf("told of %v, want %v", kinds, want)
	}
	until(t, "Prometheus to tell who is away", func() bool {
		text := scrape(t, b.router)
		up := func(sink string) bool { return value(t, text, fmt.Sprintf("weir_export_up{sink=%q}", sink)) == 1 }
		return up("export.graphite") && up("notify.webhooks[0]") && !up("export.redis") && !up("notify.webhooks[1]") && !up("notify.mail[0]") && !up("notify.chat[0]")
	})
}
