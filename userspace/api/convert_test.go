package api

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

// The conversions add one to a value of the vocabulary: that holds as long as both count the same names in the same order.
func TestEnumsFollowTheVocabulary(t *testing.T) {
	for d := range traffic.DirectionCount {
		if got := EnumName(directionOut(d)); got != d.String() {
			t.Errorf("direction %d: %q, want %q", d, got, d)
		}
	}
	for s := range traffic.ScopeCount {
		if got := EnumName(weirpb.Scope(s) + 1); got != s.String() {
			t.Errorf("scope %d: %q, want %q", s, got, s)
		}
	}
	for p := range traffic.PhaseCount {
		if got := EnumName(weirpb.Phase(p) + 1); got != p.String() {
			t.Errorf("phase %d: %q, want %q", p, got, p)
		}
	}
	for m := range traffic.MetricCount {
		if got := EnumName(weirpb.Metric(m) + 1); got != m.String() {
			t.Errorf("metric %d: %q, want %q", m, got, m)
		}
		if in, err := metricIn(weirpb.Metric(m) + 1); err != nil || in != m {
			t.Errorf("metric %s: read as %s, %v", m, in, err)
		}
	}
	for enum, want := range map[protoreflect.EnumDescriptor]int{
		weirpb.Direction(0).Descriptor(): int(traffic.DirectionCount), weirpb.Scope(0).Descriptor(): int(traffic.ScopeCount),
		weirpb.Phase(0).Descriptor(): int(traffic.PhaseCount), weirpb.Metric(0).Descriptor(): int(traffic.MetricCount),
	} {
		if got := enum.Values().Len() - 1; got != want {
			t.Errorf("%s has %d values, the vocabulary %d", enum.Name(), got, want)
		}
	}
}
