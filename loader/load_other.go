//go:build !linux

package loader

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"weir/userspace/traffic"
)

// DataPlane is Linux's: elsewhere none can be had.
type DataPlane struct{}

// Load returns an error.
func Load(Plan) (*DataPlane, error) {
	return nil, fmt.Errorf("load XDP programs: %w: they need Linux; leave the interfaces with engine xdp out", errors.ErrUnsupported)
}

// CPUs returns an error.
func CPUs() (int, error) {
	return 0, fmt.Errorf("count CPUs: %w: XDP needs Linux", errors.ErrUnsupported)
}

// The methods are those of a DataPlane that nobody has.

func (*DataPlane) Adopted() bool          { return false }
func (*DataPlane) Unpin() error           { return errors.ErrUnsupported }
func (*DataPlane) Close() error           { return errors.ErrUnsupported }
func (*DataPlane) Shards() []Shard        { return nil }
func (*DataPlane) ProgramSet() ProgramSet { return ProgramSet{} }
func (*DataPlane) Counters() Counters     { return Counters{} }
func (*DataPlane) SetSampling(_, _ uint32) {
}
func (*DataPlane) Flip()                                    {}
func (*DataPlane) Samples(int, func(*traffic.Sample)) error { return errors.ErrUnsupported }
func (*DataPlane) Owner(uint32) (netip.Prefix, bool)        { return netip.Prefix{}, false }
func (*DataPlane) Find(netip.Addr) (uint32, bool)           { return 0, false }
func (*DataPlane) Admit(netip.Addr) (uint32, error)         { return 0, errors.ErrUnsupported }
func (*DataPlane) Reclaim(func(slot uint32) bool) ([]uint32, error) {
	return nil, errors.ErrUnsupported
}
func (*DataPlane) SetVerdict(iter.Seq[uint32], traffic.Direction, Verdict) error {
	return errors.ErrUnsupported
}
func (*DataPlane) SetPrefixVerdict(netip.Prefix, traffic.Direction, Verdict) error {
	return errors.ErrUnsupported
}
func (*DataPlane) SetSuspect(uint32, traffic.Direction, bool) error { return errors.ErrUnsupported }
func (*DataPlane) SetRules(time.Time, []RuleEntry) error            { return errors.ErrUnsupported }
func (*DataPlane) RuleHits() ([]RuleHits, error)                    { return nil, errors.ErrUnsupported }
func (*DataPlane) SetSources(_, _ []netip.Prefix) error             { return errors.ErrUnsupported }
func (*DataPlane) SetAuthLimits(AuthLimits) error                   { return errors.ErrUnsupported }
func (*DataPlane) SetAuthentication(netip.Prefix, Authentication) error {
	return errors.ErrUnsupported
}
func (*DataPlane) AuthenticationOf(netip.Prefix) (Authentication, error) {
	return Authentication{}, errors.ErrUnsupported
}
func (*DataPlane) ForgetProofs()                 {}
func (*DataPlane) AuthStats() (AuthStats, error) { return AuthStats{}, errors.ErrUnsupported }
