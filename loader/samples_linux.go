package loader

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"weir/userspace/traffic"
)

// Samples hands over sampled frames that wait in the ring buffer, at most so many, and returns when it is empty. The kernel wakes
// nobody for a sample, so this is called as often as they are wanted. One goroutine calls it; each sample is valid until see
// returns.
func (d *DataPlane) Samples(most int, see func(*traffic.Sample)) error {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
		return fmt.Errorf("read monotonic clock: %w", err)
	}
	boot := time.Now().Add(-time.Duration(up.Nano()))
	var record ringbuf.Record
	d.samples.SetDeadline(time.Unix(0, 1)) // past: never wait
	for range most {
		if err := d.samples.ReadInto(&record); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read samples: %w", err)
		}
		if len(record.RawSample) < int(unsafe.Sizeof(sample{})) {
			return fmt.Errorf("read samples: %d bytes are no sample", len(record.RawSample))
		}
		s := (*sample)(unsafe.Pointer(unsafe.SliceData(record.RawSample)))
		see(&traffic.Sample{
			Time:      boot.Add(time.Duration(s.Time)),
			Interface: int(s.Ifindex),
			Rate:      s.Rate,
			Length:    s.Length,
			Data:      s.Data[:min(s.Captured, traffic.SampleBytes)],
		})
	}
	return nil
}

// sample is struct sample of bpf/abi.h.
type sample struct {
	Time     uint64
	Ifindex  uint32
	Rate     uint32
	Length   uint32
	Captured uint32
	Reason   uint32
	Egress   uint32
	Data     [traffic.SampleBytes]byte
}
