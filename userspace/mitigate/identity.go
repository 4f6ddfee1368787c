package mitigate

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// key tells targets apart by what can be blocked: a host keeps its one block when a reload moves it to another hostgroup, and a ban by hand
// and an automatic one of the same host are one and the same.
type key struct {
	prefix    netip.Prefix
	group     string // ScopeGroup only
	direction traffic.Direction
}

func keyOf(t traffic.Target) key {
	if t.Scope == traffic.ScopeGroup {
		return key{group: t.Group, direction: t.Direction}
	}
	return key{prefix: t.Prefix, direction: t.Direction}
}

func compareKeys(a, b key) int {
	return cmp.Or(a.prefix.Compare(b.prefix), cmp.Compare(a.group, b.group), cmp.Compare(a.direction, b.direction))
}

// valid reports whether a target can be followed: events come from the detector, records from a disk.
func valid(t traffic.Target) bool {
	if t.Direction != traffic.Incoming && t.Direction != traffic.Outgoing {
		return false
	}
	switch t.Scope {
	case traffic.ScopeHost, traffic.ScopePrefix:
		return t.Prefix.IsValid() && t.Prefix == t.Prefix.Masked() && !t.Prefix.Addr().Is4In6()
	case traffic.ScopeGroup:
		return t.Group != ""
	}
	return false
}

// idTime is the part of an identifier that says when; idPerTick numbers those of one millisecond.
const (
	idTime    = "20060102T150405.000"
	idPerTick = 10000
)

// ids makes identifiers that sort as their attacks began, also when the clock goes back.
type ids struct {
	tick   int64 // Unix milliseconds of the last one
	serial int
}

func (i *ids) next(now time.Time) string {
	if tick := now.UnixMilli(); tick > i.tick {
		i.tick, i.serial = tick, 0
	} else if i.serial++; i.serial == idPerTick {
		i.tick, i.serial = i.tick+1, 0
	}
	return fmt.Sprintf("%s-%04d", time.UnixMilli(i.tick).UTC().Format(idTime), i.serial)
}

// seen keeps next from giving out what a former run has given out.
func (i *ids) seen(id string) {
	var serial int
	if len(id) != len(idTime)+5 {
		return
	}
	at, err := time.Parse(idTime, id[:len(idTime)])
	if err != nil {
		return
	}
	if _, err := fmt.Sscanf(id[len(idTime):], "-%04d", &serial); err != nil {
		return
	}
	if tick := at.UnixMilli(); tick > i.tick || tick == i.tick && serial > i.serial {
		i.tick, i.serial = tick, serial
	}
}
