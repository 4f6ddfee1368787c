package recorder

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// fail counts a write that failed.
func (k *Keeper) fail(err error) error {
	if err != nil {
		k.counters.failed.Add(1)
	}
	return err
}

// write puts an attack's frames on disk, and what is known of it in front of them.
func (k *Keeper) write(c *capture) error {
	c.failed = false
	if len(c.files) == 0 {
		return nil
	}
	var errs []error
	comment := describe(&c.record)
	for _, w := range c.inOrder() {
		errs = append(errs, k.fail(w.describe(comment)), k.flush(w))
	}
	return errors.Join(errs...)
}

// inOrder are an attack's files, always in the same order.
func (c *capture) inOrder() []*file {
	out := make([]*file, 0, len(c.files))
	for _, link := range slices.Sorted(maps.Keys(c.files)) {
		out = append(out, c.files[link])
	}
	return out
}

// flush writes what is pending of a file, if there is room.
func (k *Keeper) flush(w *file) error {
	n := int64(len(w.pending))
	if n == 0 {
		return nil
	}
	if err := k.room(n); err != nil {
		return k.fail(err)
	}
	if err := w.flush(); err != nil {
		return k.fail(err)
	}
	k.written(n)
	k.counters.bytes.Add(uint64(n))
	return nil
}

func (k *Keeper) written(n int64) {
	k.wrote = true
	k.used += n
	k.counters.used.Store(k.used)
}

// room makes room for n bytes more, if need be by removing the oldest files.
func (k *Keeper) room(n int64) error {
	if k.used+n <= k.options.Bytes {
		return nil
	}
	if k.full {
		return errNoRoom
	}
	err := k.prune(n)
	if k.used+n > k.options.Bytes {
		k.full = true
		return errors.Join(errNoRoom, err)
	}
	return err
}

// finish closes an attack's files and writes its record.
func (k *Keeper) finish(c *capture) error {
	var errs []error
	root, err := openFolder(k.options.Folder)
	if err != nil {
		errs = append(errs, k.fail(err))
	} else {
		defer root.Close()
	}
	is := captured{Files: []string{}, Seen: c.seen, Written: c.written}
	for _, w := range c.inOrder() {
		w.end()
		errs = append(errs, k.flush(w), w.f.Close())
		switch {
		case w.size > 0:
			is.Files = append(is.Files, w.name)
		case root != nil:
			errs = append(errs, k.fail(root.Remove(w.name))) // nothing could be written to it
		}
	}
	switch {
	case len(is.Files) > 0:
	case c.waiting:
		is.Why = "too many other attacks were on"
	case c.seen == 0:
		is.Why = "no packet of it was sampled"
	default:
		is.Why = "the disk could not be written to"
	}
	if root != nil {
		errs = append(errs, k.fail(k.writeRecord(root, c, is)))
	}
	return errors.Join(errs...)
}

// writeRecord writes an attack's record. What an earlier one says of frames, from before a restart, is true still.
func (k *Keeper) writeRecord(root *os.Root, c *capture, is captured) error {
	a := &c.record.Attack
	earlier, err := capturedBefore(root, recordName(a.ID, a.Target))
	if err != nil {
		return err
	}
	if c.waiting && earlier == nil {
		k.counters.muted.Add(1)
	}
	if earlier != nil {
		is.Seen, is.Written = is.Seen+earlier.Seen, is.Written+earlier.Written
		is.Files = slices.Compact(slices.Sorted(slices.Values(append(is.Files, earlier.Files...))))
		if is.Why = earlier.Why; len(is.Files) > 0 {
			is.Why = ""
		}
	}
	content, err := encode(&c.record, is)
	if err != nil {
		return err
	}
	if err := k.room(int64(len(content))); err != nil {
		return err
	}
	if err := writeRecord(root, a.ID, a.Target, content); err != nil {
		return err
	}
	k.written(int64(len(content)))
	k.grown = true
	k.counters.records.Add(1)
	return nil
}

// writeText adds to a text of FastNetMon's kind.
func (k *Keeper) writeText(t text) error {
	if err := k.room(int64(len(t.content))); err != nil {
		return k.fail(err)
	}
	root, err := openFolder(k.options.Folder)
	if err != nil {
		return k.fail(err)
	}
	defer root.Close()
	f, err := root.OpenFile(t.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, fileMode)
	if err != nil {
		return k.fail(err)
	}
	_, err = f.WriteString(t.content)
	if err = errors.Join(err, f.Close()); err != nil {
		return k.fail(err)
	}
	k.written(int64(len(t.content)))
	k.grown = true
	k.counters.texts.Add(1)
	return nil
}

// prune removes the oldest files until there are no more of them than there may be, with room for so many bytes more, and counts what
// is left. Files of attacks that are on stay.
func (k *Keeper) prune(want int64) error {
	k.pruned, k.grown = k.now, false
	root, err := os.OpenRoot(k.options.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		k.keep(0, 0)
		return nil
	}
	if err != nil {
		return k.fail(err)
	}
	defer root.Close()
	groups, err := list(root)
	if err != nil {
		return k.fail(err)
	}
	var used int64
	for _, g := range groups {
		used += g.Bytes
	}
	left := len(groups)
	var errs []error
	for _, g := range slices.Backward(groups) {
		tooMany := left > k.options.Attacks || used+want > k.options.Bytes
		if !tooMany && k.now.Sub(g.Changed) <= k.options.Age {
			break
		}
		if k.attacks[g.ID] != nil {
			continue
		}
		gone := true
		for _, name := range g.files {
			if err := ignoreMissing(root.Remove(name)); err != nil {
				gone = false
				errs = append(errs, k.fail(err))
				continue
			}
			k.counters.pruned.Add(1)
		}
		if gone {
			left--
			used -= g.Bytes
		}
	}
	k.keep(left, used)
	return errors.Join(errs...)
}

// keep notes what is in the folder.
func (k *Keeper) keep(entries int, bytes int64) {
	k.used = bytes
	k.counters.kept.Store(int64(entries))
	k.counters.used.Store(bytes)
}
