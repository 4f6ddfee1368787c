package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ring that a capture program shares with Weir, as userspace/capture/snabb/firehose/ring.h describes it to those who write one.
const (
	ringWritten = 24   // u64: bytes written since the beginning
	ringDropped = 32   // u64: frames that found no room
	ringRead    = 4096 // u64: bytes that Weir is done with
	ringData    = 8192
	ringRecord  = 16 // u32 captured, u32 length, u64 time
	ringMark    = 0xffffffff
	ringMemory  = "/dev/shm" // where rings are: memory, whatever the temporary folder is
)

// ringFlood is a generator that writes its packets straight into a ring's memory, as Snabb does: no kernel is in between.
type ringFlood struct {
	folder string // of the ring's file
	memory []byte
	frame  []byte
}

func (r *ringFlood) path() string { return filepath.Join(r.folder, "ring") }

func newRingFlood(frame []byte) (*ringFlood, error) {
	folder, err := os.MkdirTemp(ringMemory, "weir-bench-")
	if err != nil {
		return nil, fmt.Errorf("make folder for the ring: %w", err)
	}
	return &ringFlood{folder: folder, frame: frame}, nil
}

// attach maps the ring that the engine has made.
func (r *ringFlood) attach() (err error) {
	file, err := os.OpenFile(r.path(), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open ring: %w", err)
	}
	if r.memory, err = unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	return nil
}

func (r *ringFlood) Close() error {
	var err error
	if r.memory != nil {
		err = os.NewSyscallError("unmap ring", unix.Munmap(r.memory))
	}
	return errors.Join(err, os.RemoveAll(r.folder))
}

func (r *ringFlood) word(at int) *uint64 { return (*uint64)(unsafe.Pointer(&r.memory[at : at+8][0])) }

// Run writes packets to random hosts until so many are written or ctx ends, at the most that is allowed: one that finds no room is dropped
// and counted, as Snabb does, and a ring that is always full would be written to in vain.
func (r *ringFlood) Run(ctx context.Context, _ float64, limit uint64) (sent uint64, err error) {
	const (
		look  = 256 // packets between two looks at the clock
		pause = 50 * time.Microsecond
	)
	began := time.Now()
	data := r.memory[ringData:]
	size, need := uint64(len(data)), uint64(ringRecord+(len(r.frame)+7)&^7)
	written, dropped := atomic.LoadUint64(r.word(ringWritten)), atomic.LoadUint64(r.word(ringDropped))
	for ; sent < limit; sent++ {
		if sent%look == 0 {
			for time.Since(began).Seconds()*maxCaptureRate < float64(sent) && ctx.Err() == nil {
				time.Sleep(pause)
			}
			if ctx.Err() != nil {
				return sent, nil
			}
		}
		at := written & (size - 1)
		room, skip := size-(written-atomic.LoadUint64(r.word(ringRead))), uint64(0)
		if at+need > size {
			skip = size - at
		}
		if room < skip+need {
			dropped++
			atomic.StoreUint64(r.word(ringDropped), dropped)
			continue
		}
		if skip > 0 {
			binary.NativeEndian.PutUint32(data[at:], ringMark)
			at = 0
		}
		binary.NativeEndian.PutUint32(data[at:], uint32(len(r.frame)))
		binary.NativeEndian.PutUint32(data[at+4:], uint32(len(r.frame)))
		binary.NativeEndian.PutUint64(data[at+8:], uint64(time.Now().UnixNano()))
		copy(data[at+ringRecord:], r.frame)
		binary.BigEndian.PutUint16(data[at+ringRecord+destinationAt+2:], uint16(rand.Uint32()))
		written += skip + need
		atomic.StoreUint64(r.word(ringWritten), written)
	}
	return sent, nil
}
