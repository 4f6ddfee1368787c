package snabb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	memoryFolder = "/dev/shm"
	ringPrefix   = "weir-snabb-"
)

// shared is the ring's file, its memory, and how to read it.
type shared struct {
	*ring
	file *os.File
	ours bool // whether the file goes when we do
}

// makeRing makes the file of a new ring: nobody else's, and removed at the end. A path that is given must not exist.
func makeRing(path string, size int) (*shared, error) {
	removeLeftovers(memoryFolder)
	file, err := newFile(path)
	if err != nil {
		return nil, fmt.Errorf("make ring: %w", err)
	}
	s := &shared{file: file, ours: true}
	if err := s.fill(size); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func newFile(path string) (*os.File, error) {
	for {
		file, err := createFile(path)
		if err != nil {
			return nil, err
		}
		if err := lock(file); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		// Between making and locking it, somebody may have taken it for a leftover.
		var info unix.Stat_t
		if err := unix.Fstat(int(file.Fd()), &info); err != nil {
			return nil, errors.Join(os.NewSyscallError("fstat", err), file.Close())
		}
		if info.Nlink > 0 {
			return file, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

func createFile(path string) (*os.File, error) {
	if path != "" {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	return os.CreateTemp(memoryFolder, ringPrefix+"*") // O_EXCL, mode 0600
}

// lock marks a ring as read by this process. The mark goes with the process, however it ends.
func lock(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: another process reads this ring", file.Name())
	}
	return os.NewSyscallError("flock", err)
}

// removeLeftovers removes the rings of processes that were killed: their files are there, and nobody has them locked. What cannot
// be removed takes memory, and does no other harm.
func removeLeftovers(folder string) {
	names, err := filepath.Glob(filepath.Join(folder, ringPrefix+"*"))
	if err != nil {
		return
	}
	for _, name := range names {
		file, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if lock(file) == nil {
			_ = os.Remove(name)
		}
		_ = file.Close()
	}
}

// attachRing opens a ring at a path, or makes it where nothing is yet, and leaves it there at the end for whoever writes.
func attachRing(path string, size int) (*shared, error) {
	// Not both in one call: a kernel that protects folders such as /dev/shm refuses that for a file of another user.
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("attach to ring: %w", err)
	}
	s := &shared{file: file}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("attach to ring: %s is no file", path)
	default:
		err = lock(file)
	}
	switch {
	case err != nil:
	case info.Size() == 0:
		err = s.fill(size)
	default:
		err = s.adopt(info.Size())
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// fill reserves memory for an empty ring: what is not reserved would end the process once it is missing.
func (s *shared) fill(size int) error {
	total := int64(dataBegin) + int64(size)
	if err := unix.Fallocate(int(s.file.Fd()), 0, 0, total); err != nil {
		if errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("make ring %s of %d bytes: %w; make room there (mount -o remount,size=... %s)", s.file.Name(), total, err, memoryFolder)
		}
		return fmt.Errorf("make ring %s of %d bytes: %w", s.file.Name(), total, err)
	}
	mem, err := s.share(total)
	if err != nil {
		return err
	}
	r, err := format(mem)
	return s.keep(mem, r, err)
}

// adopt takes over a ring that is there. What was written while nobody read is not of now, and is left out.
func (s *shared) adopt(total int64) error {
	mem, err := s.share(total)
	if err != nil {
		return err
	}
	r, err := attach(mem)
	if err == nil {
		r.skip()
	}
	return s.keep(mem, r, err)
}

func (s *shared) keep(mem []byte, r *ring, err error) error {
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", s.file.Name(), err), os.NewSyscallError("munmap", unix.Munmap(mem)))
	}
	s.ring = r
	return nil
}

func (s *shared) share(total int64) ([]byte, error) {
	mem, err := unix.Mmap(int(s.file.Fd()), 0, int(total), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring %s: %w", s.file.Name(), err)
	}
	return mem, nil
}

func (s *shared) path() string { return s.file.Name() }

// close unmaps the ring. Nobody may read it any more.
func (s *shared) close() error {
	var errs []error
	if s.ring != nil {
		errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(s.mem)))
		s.ring = nil
	}
	if s.ours {
		errs = append(errs, os.Remove(s.file.Name()))
	}
	return errors.Join(append(errs, s.file.Close())...)
}
