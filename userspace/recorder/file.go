package recorder

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"weir/userspace/traffic"
)

const (
	pendingBytes   = 64 << 10 // of a file wait at most to be written
	maxInterfaces  = 256      // of a file; what came by others is put down to none of them
	thinnedBy      = 4
	leastFileBytes = 16 << 10
)

var errNoRoom = errors.New("the folder is as large as it may become, and all that is in it belongs to attacks that are on")

// file is the capture of one attack's frames of one link type.
type file struct {
	name    string
	link    traffic.Link
	f       *os.File
	limit   int64 // bytes
	began   int64 // where this run's section is
	size    int64 // what is on disk
	pending []byte
	full    bool   // already when it was opened
	comment string // as it stands in the section or in pending

	interfaces map[int]*ifc
	first      time.Time
	last       time.Time
}

// ifc is one interface of a file.
type ifc struct {
	number     uint32
	weight     uint64 // packets that each frame stands for
	seen, left uint64 // frames; left out of the file
}

// openFile begins a capture, or a new section behind what an earlier run has written whole.
func openFile(root *os.Root, name string, link traffic.Link, limit int64, comment string) (*file, error) {
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	size, err := wholeBlocks(f)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	w := &file{name: name, link: link, f: f, limit: limit, began: size, size: size, comment: comment, interfaces: map[int]*ifc{}}
	section := appendSection(nil, comment, runtime.GOOS)
	if w.full = size+int64(len(section)) > limit; !w.full {
		w.pending = section
	}
	return w, nil
}

// length is what the file is long when all is written.
func (w *file) length() int64 { return w.size + int64(len(w.pending)) }

// add writes a frame to pending, with the comment if it is not empty, unless there is no room for it or it is left out so that room
// is left for what the attack becomes: behind each half of what is left, a fourth of the frames is kept.
func (w *file) add(f *Frame, comment string, name func(int) string) bool {
	before := len(w.pending)
	if w.full {
		return false
	}
	i := w.interfaceOf(f.Interface, name)
	if i == nil {
		return false
	}
	i.seen++
	stride := w.stride()
	if i.seen%stride != 0 {
		i.left++
		return false
	}
	weight := stride * uint64(max(f.Rate, 1))
	if weight != i.weight {
		if comment != "" {
			comment += "\n"
		}
		comment += fmt.Sprintf("from here on, a frame of this interface stands for %d packets", weight)
	}
	w.pending = appendPacket(w.pending, i.number, f, comment)
	if len(w.pending) > pendingBytes || w.length() > w.limit {
		w.pending = w.pending[:before]
		if i.seen == 1 {
			delete(w.interfaces, w.keyOf(f.Interface)) // its description went with the frame
			return false
		}
		i.left++
		return false
	}
	i.weight = weight
	if w.first.IsZero() || f.Time.Before(w.first) {
		w.first = f.Time
	}
	if f.Time.After(w.last) {
		w.last = f.Time
	}
	return true
}

// stride is of how many frames one is kept.
func (w *file) stride() uint64 {
	stride := uint64(1)
	for room := w.limit / 2; w.limit-w.length() < room && stride < 1<<20; room /= 2 {
		stride *= thinnedBy
	}
	return stride
}

// keyOf is where an interface is in the map: those that are too many are as if unknown.
func (w *file) keyOf(index int) int {
	if w.interfaces[index] == nil && len(w.interfaces) >= maxInterfaces {
		return 0
	}
	return index
}

// interfaceOf returns what is known of an interface, and describes one that is new; nil if there is no room for that.
func (w *file) interfaceOf(index int, name func(int) string) *ifc {
	key := w.keyOf(index)
	if i := w.interfaces[key]; i != nil {
		return i
	}
	text := ""
	if key != 0 && name != nil {
		text = name(key)
	}
	switch {
	case text != "":
	case key == 0:
		text = "unknown"
	default:
		text = "interface " + strconv.Itoa(key)
	}
	before := len(w.pending)
	w.pending = appendInterface(w.pending, text, w.link)
	if len(w.pending) > pendingBytes || w.length() > w.limit {
		w.pending = w.pending[:before]
		return nil
	}
	i := &ifc{number: uint32(len(w.interfaces))}
	w.interfaces[key] = i
	return i
}

// describe gives the section another comment.
func (w *file) describe(comment string) error {
	if comment == w.comment || w.full {
		return nil
	}
	if w.size == w.began {
		copy(w.pending[sectionCommentAt:], sectionComment(comment))
	} else if _, err := w.f.WriteAt(sectionComment(comment), w.began+sectionCommentAt); err != nil {
		return err
	}
	w.comment = comment
	return nil
}

// flush writes what is pending. After an error all of it is still pending, and the file as it was.
func (w *file) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	if _, err := w.f.WriteAt(w.pending, w.size); err != nil {
		return errors.Join(err, w.f.Truncate(w.size))
	}
	w.size += int64(len(w.pending))
	w.pending = w.pending[:0]
	return nil
}

// end adds how many frames there were on each interface, as far as there is room.
func (w *file) end() {
	inOrder := make([]*ifc, len(w.interfaces))
	for _, i := range w.interfaces {
		inOrder[i.number] = i
	}
	for _, i := range inOrder {
		before := len(w.pending)
		w.pending = appendStatistics(w.pending, i.number, w.first, w.last, i.seen, i.left)
		if w.length() > w.limit {
			w.pending = w.pending[:before]
			return
		}
	}
}
