package traffic

import (
	"math"
	"testing"
)

func TestFlowScaled(t *testing.T) {
	for _, tt := range []struct {
		packets, bytes uint64
		rate           uint32
		wantPackets    uint64
		wantBytes      uint64
	}{
		{3, 400, 0, 3, 400},
		{3, 400, 1000, 3000, 400_000},
		{1 << 63, math.MaxUint64, 2, 1 << 45, 1 << 45},
		{1, 1, math.MaxUint32, math.MaxUint32, math.MaxUint32},
	} {
		f := Flow{Packets: tt.packets, Bytes: tt.bytes, Rate: tt.rate}
		if packets, bytes := f.Scaled(); packets != tt.wantPackets || bytes != tt.wantBytes {
			t.Errorf("%d packets, %d bytes, one in %d: got %d and %d, want %d and %d", tt.packets, tt.bytes, tt.rate, packets, bytes, tt.wantPackets, tt.wantBytes)
		}
	}
}
