package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/tests/need"
	"weir/userspace/api/weirpb"
	"weir/userspace/lab"
)

// peer is a BIRD router that Weir's has a link and a BGP session with. Routes with the blackhole community are its kernel's blackholes.
type peer struct {
	host    *lab.Host
	bird    *lab.Bird
	changes *feed[lab.RouteChange]
	watched chan struct{} // closed when changes come no more
}

const (
	ourEnd, peerEnd = "192.0.2.249", "192.0.2.250" // of the link; the next hop is another address
	nextHop         = "192.0.2.66"
	ourAS, peerAS   = 64500, 64501
)

// joinPeer adds the router to the bed. An empty password is none.
func (b *bed) joinPeer(t *testing.T, password string) *peer {
	t.Helper()
	need.Tool(t, "bird", "bird2")
	p := &peer{host: openHost(t, b.lab, "peer"), changes: &feed[lab.RouteChange]{}, watched: make(chan struct{})}
	if err := b.lab.Link(b.router, "bgp", p.host, "eth0", lab.LinkOptions{
		A: lab.End{Addresses: prefixes(ourEnd + "/30")}, B: lab.End{Addresses: prefixes(peerEnd + "/30")},
	}); err != nil {
		t.Fatal(err)
	}
	config := lab.BirdPeer{
		Address: addr(peerEnd), AS: peerAS, Neighbour: addr(ourEnd), NeighbourAS: ourAS, Blackhole: 65535<<16 | 666, Password: password,
	}.Config()
	ctx, cancel := context.WithCancel(context.Background())
	changes, err := p.host.WatchRoutes(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.watched)
		for c := range changes {
			p.changes.add(c)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-p.watched
		if t.Failed() && p.bird != nil {
			t.Logf("BIRD said:\n%s", p.bird.Log())
		}
	})
	if p.bird, err = lab.StartBird(p.host, config); err != nil {
		t.Fatal(err)
	}
	return p
}

// bgpConfig is a configuration for the bed's router that drops and blackholes, by a session with the peer.
func bgpConfig(password string) string {
	return routerConfig("native", false, hostThreshold+", actions: [drop, rtbh]") + fmt.Sprintf(`
bgp:
  router_id: %[1]s
  as: %[2]d
  on_stop: keep
  peers: [{name: upstream, address: %[3]s, as: %[4]d, local_address: %[1]s, connect_retry: 1s, password: %[5]q}]
  actions: {rtbh: {kind: blackhole, next_hop: {ipv4: %[6]s, ipv6: off}, communities: [blackhole, no-export]}}
`, ourEnd, ourAS, peerEnd, peerAS, password, nextHop)
}

// route waits for a host's route to come to the peer's table, or to go from it.
func (p *peer) route(t *testing.T, mark int, host string, removed bool) {
	t.Helper()
	want := netip.PrefixFrom(addr(host), 32)
	p.changes.await(t, fmt.Sprintf("the route %s in the peer's table, removed: %t", want, removed), mark, p.watched, func(c lab.RouteChange) bool {
		return c.Prefix == want && c.Removed == removed
	})
}

// kept checks that no route has gone from the peer's table since the mark.
func (p *peer) kept(t *testing.T, mark int) {
	t.Helper()
	changes, _ := p.changes.from(mark)
	if slices.ContainsFunc(changes, func(c lab.RouteChange) bool { return c.Removed }) {
		t.Errorf("a route has gone meanwhile: %v", changes)
	}
}

// show is what BIRD says about a host's route.
func (p *peer) show(t *testing.T, host string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	text, err := p.bird.Ask(ctx, "show route for "+host+" all")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// attribute is one BGP attribute of a host's route as BIRD writes it.
func (p *peer) attribute(t *testing.T, host, name string) string {
	t.Helper()
	for line := range strings.Lines(p.show(t, host)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "BGP."+name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// sessions is what the daemon says about BGP.
func (d *daemon) sessions(t *testing.T) *weirpb.BgpPeersResponse {
	t.Helper()
	answer, err := d.client.BgpPeers(t.Context(), connect.NewRequest(&weirpb.BgpPeersRequest{}))
	if err != nil {
		t.Fatalf("ask for BGP peers: %v", err)
	}
	return answer.Msg
}

// established waits until the daemon's only session is up.
func (d *daemon) established(t *testing.T) {
	t.Helper()
	until(t, "the BGP session", func() bool {
		all := d.sessions(t).GetPeers()
		return len(all) == 1 && all[0].GetSession() == "established"
	})
}

// TestBlackhole follows a flood into the peer's table, and a word of the operator out of it.
func TestBlackhole(t *testing.T) {
	b := newBed(t)
	p := b.joinPeer(t, "a secret")
	d := startDaemon(t, b.router, "", bgpConfig("a secret"))
	d.established(t)
	bystander := b.use(t, b.other, otherAddr)
	f := floodVictim(t, b, d, victimAddr)
	p.route(t, 0, victimAddr, false)
	got := map[string]string{}
	for _, name := range []string{"next_hop", "community", "as_path", "origin"} {
		got[name] = p.attribute(t, victimAddr, name)
	}
	want := map[string]string{"next_hop": nextHop, "community": "(65535,666) (65535,65281)", "as_path": fmt.Sprint(ourAS), "origin": "IGP"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("attributes (-got +want):\n%s", diff)
	}
	f.stop(t)
	if a := d.weir(t, "unban", victimAddr); a.code != 0 {
		t.Errorf("weir unban: exit code %d: %s", a.code, a.errors)
	}
	p.route(t, 0, victimAddr, true)
	undisturbed(t, "requests to another host", bystander)
}

// TestBlackholeOutlivesDaemon kills the daemon: by graceful restart the route stays, and the next daemon makes it fresh.
func TestBlackholeOutlivesDaemon(t *testing.T) {
	b := newBed(t)
	p := b.joinPeer(t, "")
	d := startDaemon(t, b.router, "", bgpConfig(""))
	d.established(t)
	f := floodVictim(t, b, d, victimAddr)
	p.route(t, 0, victimAddr, false)
	// The ban is on disk before routers are told of it, so this holds however soon the daemon dies after it.
	mark := p.changes.mark()
	d.kill(t)
	until(t, "the route to be stale at the peer", func() bool { return stale(t, p) })
	f.blocked(t, "the flood on a banned host without a daemon", b.victim)
	d.start(t)
	d.established(t)
	until(t, "the route to be fresh at the peer", func() bool { return !stale(t, p) })
	if got := p.attribute(t, victimAddr, "community"); got != "(65535,666) (65535,65281)" {
		t.Errorf("communities after the restart: %q", got)
	}
	p.kept(t, mark)
	f.stop(t)
	if a := d.weir(t, "unban", victimAddr); a.code != 0 {
		t.Errorf("weir unban: exit code %d: %s", a.code, a.errors)
	}
	p.route(t, mark, victimAddr, true)
}

// stale reports whether the peer holds routes of a session that is lost.
func stale(t *testing.T, p *peer) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	text, err := p.bird.Ask(ctx, "show protocols all weir")
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(text, "BGP state:          Established") || strings.Contains(text, "Neighbor graceful restart active")
}

// TestSpeakerKilled kills only the process that speaks BGP: detection and drops go on, and it is back before anybody misses it.
func TestSpeakerKilled(t *testing.T) {
	b := newBed(t)
	p := b.joinPeer(t, "")
	d := startDaemon(t, b.router, "", bgpConfig(""))
	d.errorsExpected = true // that the speaker was killed
	d.established(t)
	first := floodVictim(t, b, d, victimAddr)
	p.route(t, 0, victimAddr, false)
	first.stop(t)
	mark, pid := p.changes.mark(), d.sessions(t).GetSpeaker().GetPid()
	if pid == 0 || int(pid) == d.process.Pid {
		t.Fatalf("the speaker's process is %d", pid)
	}
	if err := unix.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := floodVictim(t, b, d, "203.0.113.7")
	second.blocked(t, "the flood on a banned host without a speaker", b.victim)
	p.route(t, mark, "203.0.113.7", false)
	d.established(t)
	if s := d.sessions(t).GetSpeaker(); !s.GetUp() || s.GetRestarts() != 1 || s.GetPid() == pid {
		t.Errorf("the speaker: %v; want one that was started once again", s)
	}
	p.kept(t, mark)
	if got := p.attribute(t, victimAddr, "next_hop"); got != nextHop {
		t.Errorf("next hop of the first route after the restart: %q", got)
	}
}

// printedPeers is what --json prints of BGP sessions, as far as tests look at it.
type printedPeers struct {
	Peers []struct{ Name, Session, Error string }
}

// TestWrongPassword is told wherever an operator looks, and stops neither detection nor the drop.
func TestWrongPassword(t *testing.T) {
	b := newBed(t)
	p := b.joinPeer(t, "theirs")
	d := startDaemon(t, b.router, "", bgpConfig("ours"))
	floodVictim(t, b, d, victimAddr).blocked(t, "the flood on a banned host without a session", b.victim)
	var peers printedPeers
	until(t, "weir bgp peers to say what is wrong", func() bool {
		peers = ask[printedPeers](t, d, "bgp", "peers")
		return len(peers.Peers) == 1 && strings.Contains(peers.Peers[0].Error, "MD5")
	})
	if peers.Peers[0].Session == "established" {
		t.Errorf("peers: %+v", peers)
	}
	status := ask[struct{ BGP json.RawMessage }](t, d, "status")
	if !strings.Contains(string(status.BGP), "MD5") {
		t.Errorf("weir status: BGP is %s; want what is wrong", status.BGP)
	}
	if a := d.weir(t, "status"); a.code != 0 || !strings.Contains(a.out, "upstream") {
		t.Errorf("weir status: exit code %d, prints %s", a.code, a.out)
	}
	if changes := p.changes.all(); len(changes) > 0 {
		t.Errorf("routes without a session: %v", changes)
	}
}

// TestAnnounceByHand announces and withdraws, and is refused what must never leave the box.
func TestAnnounceByHand(t *testing.T) {
	b := newBed(t)
	p := b.joinPeer(t, "")
	d := startDaemon(t, b.router, "", bgpConfig("")+"\nnever_ban: {prefixes: ["+otherAddr+"]}\n")
	d.established(t)
	for _, args := range [][]string{
		{"0.0.0.0/0", "--action", "rtbh"},
		{"0.0.0.0/0", "--next-hop", nextHop},
		{"::/0", "--next-hop", "2001:db8::1"},
		{"198.51.100.0/24", "--next-hop", nextHop},
		{otherAddr + "/32", "--next-hop", nextHop},
	} {
		if a := d.weir(t, append([]string{"bgp", "announce"}, args...)...); a.code != 1 || a.errors == "" || a.out != "" {
			t.Errorf("weir bgp announce %v: exit code %d, prints %q, says %q; want 1 and why", args, a.code, a.out, a.errors)
		}
	}
	if a := d.weir(t, "bgp", "announce", victimAddr+"/32", "--action", "rtbh"); a.code != 0 {
		t.Fatalf("weir bgp announce: exit code %d: %s", a.code, a.errors)
	}
	p.route(t, 0, victimAddr, false)
	if got := p.attribute(t, victimAddr, "next_hop"); got != nextHop {
		t.Errorf("next hop: %q", got)
	}
	routes := ask[struct {
		Routes []struct{ Route, Owner string }
	}](t, d, "bgp", "routes")
	if len(routes.Routes) != 1 || routes.Routes[0].Route != victimAddr+"/32" || routes.Routes[0].Owner != "manual" {
		t.Errorf("weir bgp routes: %+v; want the one by hand", routes)
	}
	if a := d.weir(t, "bgp", "withdraw", victimAddr+"/32"); a.code != 0 {
		t.Errorf("weir bgp withdraw: exit code %d: %s", a.code, a.errors)
	}
	p.route(t, 0, victimAddr, true)
	if a := d.weir(t, "bgp", "withdraw", victimAddr+"/32"); a.code != 1 || a.errors == "" {
		t.Errorf("weir bgp withdraw again: exit code %d: %s", a.code, a.errors)
	}
	if changes := p.changes.all(); slices.ContainsFunc(changes, func(c lab.RouteChange) bool { return c.Prefix != netip.PrefixFrom(addr(victimAddr), 32) }) {
		t.Errorf("other routes have come: %v", changes)
	}
}
