package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/api/weirpb"
)

// answer is the end of a command line.
type answer struct {
	code        int
	out, errors string
}

// weir runs a control command against the daemon.
func (d *daemon) weir(t *testing.T, args ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.program, append(slices.Clone(args), "--socket", d.socket())...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("weir %v: %v", args, err)
	}
	return answer{code: cmd.ProcessState.ExitCode(), out: out.String(), errors: problems.String()}
}

// printed is what --json prints of lists, as far as tests look at it; printedStatus that of `weir status`.
type printed struct {
	Hosts []struct{ Host string }
	Bans  []struct {
		Direction, Reason string
		Manual, Dropping  bool
		Until             *time.Time
	}
	Attacks []struct {
		Phase  string
		Manual bool
	}
}

type printedStatus struct {
	Interfaces []struct {
		Name     string
		Attached bool
	}
}

// ask runs a control command with --json, which must go well, and reads its answer.
func ask[T any](t *testing.T, d *daemon, args ...string) (p T) {
	t.Helper()
	a := d.weir(t, append(slices.Clone(args), "--json")...)
	if a.code != 0 {
		t.Fatalf("weir %v: exit code %d: %s", args, a.code, a.errors)
	}
	if err := json.Unmarshal([]byte(a.out), &p); err != nil {
		t.Fatalf("weir %v: %v in %q", args, err, a.out)
	}
	return p
}

func (d *daemon) status(t *testing.T) *weirpb.StatusResponse {
	t.Helper()
	s, err := d.client.Status(t.Context(), connect.NewRequest(&weirpb.StatusRequest{}))
	if err != nil {
		t.Fatalf("ask for status: %v", err)
	}
	return s.Msg
}

// total is what has been counted for a host in one direction.
func (d *daemon) total(t *testing.T, host string, way weirpb.Direction) *weirpb.Counts {
	t.Helper()
	h, err := d.client.Hosts(t.Context(), connect.NewRequest(&weirpb.HostsRequest{Prefix: host, Direction: way}))
	if err != nil {
		t.Fatalf("ask for host %s: %v", host, err)
	}
	for _, row := range h.Msg.GetHosts() {
		if row.GetHost() == host {
			return row.GetTotal()
		}
	}
	return &weirpb.Counts{}
}

// incoming is how many packets to a host have been counted.
func (d *daemon) incoming(t *testing.T, host string) uint64 {
	t.Helper()
	return d.total(t, host, weirpb.Direction_DIRECTION_INCOMING).GetTotal().GetPackets()
}

// bans is what is banned now, by target.
func (d *daemon) bans(t *testing.T) map[string]*weirpb.BanEntry {
	t.Helper()
	b, err := d.client.Bans(t.Context(), connect.NewRequest(&weirpb.BansRequest{}))
	if err != nil {
		t.Fatalf("ask for bans: %v", err)
	}
	all := map[string]*weirpb.BanEntry{}
	for _, e := range b.Msg.GetBans() {
		all[e.GetTarget()] = e
	}
	return all
}

// attacks is every attack that the daemon knows, the latest first.
func (d *daemon) attacks(t *testing.T) []*weirpb.Attack {
	t.Helper()
	a, err := d.client.Attacks(t.Context(), connect.NewRequest(&weirpb.AttacksRequest{}))
	if err != nil {
		t.Fatalf("ask for attacks: %v", err)
	}
	return a.Msg.GetAttacks()
}
