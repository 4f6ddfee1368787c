package vmtest

import (
	"fmt"
	"io"
	"path"
)

// archive writes a cpio archive in the "newc" format, which the kernel unpacks as its first file system
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w     io.Writer
	inode int
	dirs  map[string]bool
	err   error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: w, dirs: map[string]bool{".": true, "/": true}}
}

// file adds a regular file with its parent folders; name is absolute in the guest.
func (a *archive) file(name string, mode uint32, data []byte) {
	a.folder(path.Dir(name))
	a.entry(name, 0o100000|mode, data)
}

// folder adds a folder and its parents, each once.
func (a *archive) folder(name string) {
	if a.dirs[name] {
		return
	}
	a.dirs[name] = true
	a.folder(path.Dir(name))
	a.entry(name, 0o040755, nil)
}

// close writes the trailer and returns the first error of all writes.
func (a *archive) close() error {
	a.inode = -1
	a.entry("/TRAILER!!!", 0, nil)
	return a.err
}

// entry writes one member: 13 header fields of 8 hexadecimal digits, the name, the data, each padded to 4 bytes.
func (a *archive) entry(name string, mode uint32, data []byte) {
	if a.err != nil {
		return
	}
	a.inode++
	name = name[1:] + "\x00"
	fields := [13]uint32{uint32(a.inode), mode, 0, 0, 1, 0, uint32(len(data)), 0, 0, 0, 0, uint32(len(name)), 0}
	header := []byte("070701")
	for _, f := range fields {
		header = fmt.Appendf(header, "%08X", f)
	}
	header = append(header, name...)
	for _, part := range [][]byte{header, data} {
		padding := make([]byte, -len(part)&3)
		for _, b := range [][]byte{part, padding} {
			if _, err := a.w.Write(b); err != nil {
				a.err = fmt.Errorf("write initial file system: %w", err)
				return
			}
		}
	}
}
