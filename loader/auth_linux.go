package loader

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"

	"weir/userspace/traffic"
)

const (
	filterAuth     = 1 << 5 // FILTER_AUTH of bpf/abi.h
	authGuardWords = 1 << 10
	authBucket     = 4 // proofs in a bucket
	authSpare      = 2 // places for each source there is room for: a bucket that is full is rare then
)

// proofEntry is struct proof of bpf/abi_auth.h.
type proofEntry struct {
	Source uint64
	Until  uint32
	_      uint32
}

// authState is what the daemon knows of authentication in the kernel.
type authState struct {
	settings, guard, proofs, cpus mapped
	hosts                         map[netip.Prefix]weirArmed
}

func (p *Plan) authBuckets() int {
	if p.Authenticate == 0 {
		return 0
	}
	return powerOfTwo(max(p.Authenticate*authSpare/authBucket, 16))
}

// sizeAuth writes the room for proofs into the specification and the settings.
func (d *DataPlane) sizeAuth(set *weirSettings) {
	set.AuthBuckets = uint32(d.plan.authBuckets())
	d.spec.Maps["proofs"].MaxEntries = max(set.AuthBuckets, 1)
	d.spec.Maps["auth_cpus"].MaxEntries = uint32(d.cpus)
	d.spec.Maps["auth_hosts"].MaxEntries = MaxAuthHosts
}

func (d *DataPlane) openAuth() (err error) {
	d.auth.hosts = map[netip.Prefix]weirArmed{}
	for name, m := range map[string]*mapped{"auth": &d.auth.settings, "auth_guard": &d.auth.guard, "proofs": &d.auth.proofs, "auth_cpus": &d.auth.cpus} {
		if *m, err = mapMemory(d.maps[name]); err != nil {
			return err
		}
	}
	if d.adopted {
		var key weirPrefixKey
		var value weirArmed
		hosts := d.maps["auth_hosts"].Iterate()
		for hosts.Next(&key, &value) {
			d.auth.hosts[prefixOf(key.Address, int(key.Bits))] = value
		}
		if err := hosts.Err(); err != nil {
			return fmt.Errorf("read hosts under authentication: %w", err)
		}
		return nil
	}
	s := d.authSettings()
	var secret [3]uint64
	if err := binary.Read(rand.Reader, binary.NativeEndian, &secret); err != nil {
		return fmt.Errorf("seed cookies: %w", err)
	}
	copy(s.CookieKey[:], secret[:2])
	s.TableKey = secret[2]
	return d.SetAuthLimits(DefaultAuthLimits())
}

func (d *DataPlane) closeAuth() error {
	return errors.Join(d.auth.settings.unmap(), d.auth.guard.unmap(), d.auth.proofs.unmap(), d.auth.cpus.unmap())
}

func (d *DataPlane) authSettings() *weirAuth { return &view[weirAuth](d.auth.settings, 1)[0] }

// SetAuthLimits bounds the answers and the life of proofs from now on.
func (d *DataPlane) SetAuthLimits(l AuthLimits) error {
	if l.Answers < 1 || l.Lifetime < time.Second {
		return fmt.Errorf("limit authentication: %d answers a second, proofs for %s; expected at least 1 and 1s", l.Answers, l.Lifetime)
	}
	s := d.authSettings()
	atomic.StoreUint64(&s.AnswerCost, max(uint64(time.Second)/uint64(l.Answers), 1))
	atomic.StoreUint32(&s.Lifetime, d.clock.units(l.Lifetime))
	return nil
}

// SetAuthentication has the TCP sources of a host, or of all hosts of a prefix, prove that they are real. Of several prefixes that
// hold a host, the longest decides. AuthOff takes it off. It is in force for each packet that arrives after the return, on
// interfaces of the roles host and wire; proofs stay, and serve for all hosts.
func (d *DataPlane) SetAuthentication(target netip.Prefix, a Authentication) error {
	switch {
	case a.Mode >= authCount || !target.IsValid() || target.Addr().Is4In6():
		return fmt.Errorf("authenticate sources of %s: no such prefix, or no such mode as %s", target, a.Mode)
	case a.Mode != AuthOff && d.plan.Authenticate == 0:
		return fmt.Errorf("authenticate sources of %s: there is no room for proven sources; give it some in the configuration", target)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.clock.now()
	if err != nil {
		return err
	}
	target = target.Masked()
	if err := d.forgetAuth(func(p netip.Prefix, armed weirArmed) bool {
		return unitsLeft(armed.Word, now) <= 0 || p == target && a.Mode == AuthOff
	}); err != nil {
		return err
	}
	if a.Mode != AuthOff {
		armed := weirArmed{
			Word: uint32(a.Mode)<<verdictActionShift | (now+d.clock.units(a.Until))&verdictUntilMask,
			From: now & verdictUntilMask,
		}
		if a.Grace > 0 {
			armed.From = (now + d.clock.units(a.Grace)) & verdictUntilMask
		}
		if before, ok := d.auth.hosts[target]; ok && before.Word>>verdictActionShift == uint32(AuthAll) {
			armed.From = before.From
			if unitsLeft(before.From, now) <= 0 {
				armed.From = now & verdictUntilMask // far enough from its wrap
			}
		}
		if err := d.maps["auth_hosts"].Put(prefixKeyOf(target), armed); err != nil {
			return fmt.Errorf("authenticate sources of %s: %w; there is room for %d hosts and prefixes at a time", target, err, MaxAuthHosts)
		}
		d.auth.hosts[target] = armed
	}
	d.guardAuth()
	return nil
}

// forgetAuth takes prefixes off.
func (d *DataPlane) forgetAuth(gone func(netip.Prefix, weirArmed) bool) error {
	for p, armed := range d.auth.hosts {
		if !gone(p, armed) {
			continue
		}
		if err := d.maps["auth_hosts"].Delete(prefixKeyOf(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("end authentication of sources of %s: %w", p, err)
		}
		delete(d.auth.hosts, p)
	}
	return nil
}

// guardAuth marks who is under authentication. Each word is right before and after its store, and so is what is decided by it.
func (d *DataPlane) guardAuth() {
	g := guard{bits: make([]uint64, authGuardWords)}
	for p := range d.auth.hosts {
		g.add(p, 0)
	}
	var everywhere, on uint32
	if g.all {
		everywhere = 1
	}
	if len(d.auth.hosts) > 0 {
		on = filterAuth
	}
	words := view[uint64](d.auth.guard, authGuardWords)
	for i, bits := range g.bits {
		atomic.StoreUint64(&words[i], bits)
	}
	atomic.StoreUint32(&d.authSettings().Everywhere, everywhere)
	d.switchFilter(filterAuth, on)
}

// AuthenticationOf returns what stands on exactly this target, as the kernel would judge it now.
func (d *DataPlane) AuthenticationOf(target netip.Prefix) (Authentication, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.clock.now()
	if err != nil {
		return Authentication{}, err
	}
	armed := d.auth.hosts[target.Masked()]
	left := unitsLeft(armed.Word, now)
	if armed.Word == 0 || left <= 0 {
		return Authentication{}, nil
	}
	a := Authentication{Mode: AuthMode(armed.Word >> verdictActionShift), Until: time.Duration(left) * d.clock.unit()}
	if a.Mode == AuthAll {
		a.Grace = max(time.Duration(unitsLeft(armed.From, now)), 0) * d.clock.unit()
	}
	return a, nil
}

// ForgetProofs has all sources prove themselves again.
func (d *DataPlane) ForgetProofs() {
	proofs := view[proofEntry](d.auth.proofs, d.plan.authBuckets()*authBucket)
	for i := range proofs {
		atomic.StoreUint64(&proofs[i].Source, 0)
	}
}

// AuthStats reads the whole table of proofs, some 30 bytes for each source there is room for: not more often than every second.
func (d *DataPlane) AuthStats() (AuthStats, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.clock.now()
	if err != nil {
		return AuthStats{}, err
	}
	stats := AuthStats{Room: d.plan.Authenticate}
	for _, armed := range d.auth.hosts {
		if unitsLeft(armed.Word, now) > 0 {
			stats.Hosts++
		}
	}
	proofs := view[proofEntry](d.auth.proofs, d.plan.authBuckets()*authBucket)
	for i := range proofs {
		if atomic.LoadUint64(&proofs[i].Source) != 0 && int32(atomic.LoadUint32(&proofs[i].Until)-now) > 0 {
			stats.Sources++
		}
	}
	cpus := view[weirAuthCpu](d.auth.cpus, d.cpus)
	for i := range cpus {
		stats.Proofs += atomic.LoadUint64(&cpus[i].Proofs)
		stats.Learned += atomic.LoadUint64(&cpus[i].Learned)
		stats.Evicted += atomic.LoadUint64(&cpus[i].Evicted)
		stats.Unanswered += atomic.LoadUint64(&cpus[i].Unanswered)
	}
	exits := d.Counters().Exits
	for family := range exits {
		stats.Challenged += exits[family][traffic.ReasonChallenged].Packets
		stats.Dropped += exits[family][traffic.ReasonUnproven].Packets
	}
	return stats, nil
}
