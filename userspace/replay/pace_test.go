package replay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/klauspost/compress/zstd"

	"weir/userspace/packet/packettest"
)

// TestPPP: frames of a serial line are counted for the packets that they carry.
func TestPPP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ppp.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriterNanos(f)
	err = w.WriteFileHeader(65535, layers.LinkTypePPP)
	for _, data := range [][]byte{
		append([]byte{0xff, 3, 0, 0x21}, packettest.UDP4().Network()...),
		append([]byte{0, 0x57}, packettest.UDP6().Network()...),
		{0xff, 3, 0xc0, 0x21, 9, 1, 0, 4}, // of the line itself
	} {
		err = cmp.Or(err, w.WritePacket(gopacket.CaptureInfo{Timestamp: dawn(), CaptureLength: len(data), Length: len(data)}, data))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	_, sum, err := found(t, Options{File: path, Networks: []string{"198.51.100.0/24"}})
	bytes := uint64(4 + len(packettest.UDP4().Network()) + 2 + len(packettest.UDP6().Network()) + 8)
	if want := (Summary{Packets: 3, Bytes: bytes, IPv4: 1, IPv6: 1, Unparsed: 1}); err != nil || sum != want {
		t.Errorf("got %+v, %v, want %+v", sum, err, want)
	}
}

// TestCompressed: the same capture says the same, packed or not.
func TestCompressed(t *testing.T) {
	path := write(t, steady(0, time.Second, 5000, always(packettest.UDP4())))
	o := Options{File: path, Networks: []string{"198.51.100.0/24"}, PPS: 1000}
	plain, sum, err := found(t, o)
	if err != nil || len(plain) != 1 {
		t.Fatalf("%+v, %v", plain, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	o.File = path + ".zst"
	if err := os.WriteFile(o.File, w.EncodeAll(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	packed, sum2, err := found(t, o)
	if diff := gocmp.Diff(packed, plain); err != nil || diff != "" || sum != sum2 {
		t.Errorf("%v, summary %+v, want %+v (-got +want)\n%s", err, sum2, sum, diff)
	}
}

// TestPace: a paced replay finds the same, and takes as long as the capture did.
func TestPace(t *testing.T) {
	for pace, takes := range map[float64]time.Duration{0: 0, 1: 4 * time.Second, 8: 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			frames := steady(0, time.Second, 5000, always(packettest.UDP4()))
			frames = append(frames, stamped{4 * time.Second, packettest.UDP4().Bytes()})
			o := Options{File: write(t, frames), Networks: []string{"198.51.100.0/24"}, PPS: 1000, Pace: pace}
			began := time.Now()
			attacks, sum, err := found(t, o)
			if err != nil || len(attacks) != 1 || sum.Packets != 5001 {
				t.Errorf("%v: %+v, %+v, %v", pace, attacks, sum, err)
			}
			if took := time.Since(began); took > takes || took < takes-2*time.Millisecond {
				t.Errorf("%v: it took %s, want %s", pace, took, takes)
			}
		})
	}
}

// TestPaceTells: an attack is told when it is seen, not when the next frame comes; and who interrupts need not wait for that either.
func TestPaceTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frames := steady(0, 3*time.Millisecond, 500000, always(packettest.UDP4()))
		frames = append(frames, stamped{time.Hour, packettest.UDP4().Bytes()})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var out bytes.Buffer
		err := Run(ctx, Options{File: write(t, frames), Networks: []string{"198.51.100.0/24"}, PPS: 1000, Pace: 1}, &out)
		if !errors.Is(err, context.DeadlineExceeded) || !bytes.Contains(out.Bytes(), []byte("attack  198.51.100.7 incoming")) {
			t.Errorf("%v, %q", err, out.String())
		}
	})
}
