package recorder

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"weir/userspace/traffic"
)

const (
	folderMode = 0o750
	fileMode   = 0o640

	captureEnding = ".pcapng"
	recordEnding  = ".json"
	textEnding    = ".txt"
	draftEnding   = ".json.new" // a record that was not written to its end

	idBytes      = 64
	subjectBytes = 64
)

// ErrNotRecorded is what an attack is answered with that has no such file, or no longer.
var ErrNotRecorded = errors.New("not recorded")

// Entry is the files of one attack.
type Entry struct {
	ID       string   // the attack's; for a text of FastNetMon's kind, the file's name
	Captures []string // names within the folder, one for each link type
	Record   string   // the same, empty while the attack is on
	Text     bool     // not an attack's files but a text of FastNetMon's kind
	Bytes    int64    // of all of them
	Changed  time.Time
}

// validID reports whether an attack's identifier can begin a file's name. It ends at the name's first underscore.
func validID(id string) bool {
	return id != "" && len(id) <= idBytes && strings.ContainsRune(letters, rune(id[0])) && strings.Trim(id, letters+".-") == ""
}

const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// safe replaces by "-" whatever is not a letter, a digit, a point or among also, and cuts what is too long. No name is hidden.
func safe(name, also string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(letters+"."+also, r) {
			return r
		}
		return '-'
	}, name)
	if name == "" || name[0] == '.' {
		name = "-" + name
	}
	return name[:min(len(name), subjectBytes)]
}

// subject is an attack's target in a file's name.
func subject(t traffic.Target) string {
	if t.Scope == traffic.ScopeGroup {
		return "group-" + safe(t.Group, "")
	}
	return safe(t.String(), "")
}

// captureName is the file for an attack's frames of one link type. Each type has its own: libpcap reads no file with several.
func captureName(id string, t traffic.Target, link traffic.Link) string {
	name := id + "_" + subject(t)
	if link != traffic.LinkEthernet {
		name += "_" + safe(link.String(), "")
	}
	return name + captureEnding
}

func recordName(id string, t traffic.Target) string { return id + "_" + subject(t) + recordEnding }

// textName is FastNetMon's name for an attack's text, in local time. It begins with the address, unlike all others.
func textName(subject string, at time.Time) string {
	return safe(subject, ":") + "_" + at.Local().Format("02_01_06_15:04:05") + textEnding
}

// openFolder opens the folder, made if need be. Nothing outside can be reached by way of it, not by a symbolic link either.
func openFolder(folder string) (*os.Root, error) {
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return nil, err
	}
	return os.OpenRoot(folder)
}

// List returns what is in a folder, the newest first. Files that are not the recorder's are left out; a folder that is not there is empty.
func List(folder string) ([]Entry, error) {
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	defer root.Close()
	entries, err := list(root)
	if err != nil {
		return nil, fmt.Errorf("list recordings in %s: %w", folder, err)
	}
	out := make([]Entry, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Entry)
	}
	return out, nil
}

// group is an entry and all its files, drafts too.
type group struct {
	Entry
	files []string
}

// list reads a folder, the newest entry first.
func list(root *os.Root) ([]*group, error) {
	files, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	byID := map[string]*group{}
	var groups []*group
	for _, f := range files {
		id, ours := owner(f.Name())
		info, err := f.Info()
		if !ours || err != nil || !info.Mode().IsRegular() {
			continue // also what has been removed meanwhile
		}
		g := byID[id]
		if g == nil {
			g = &group{Entry: Entry{ID: id, Text: strings.HasSuffix(id, textEnding)}}
			byID[id], groups = g, append(groups, g)
		}
		g.files = append(g.files, f.Name())
		g.Bytes += info.Size()
		if t := info.ModTime(); t.After(g.Changed) {
			g.Changed = t
		}
		switch {
		case strings.HasSuffix(f.Name(), captureEnding):
			g.Captures = append(g.Captures, f.Name())
		case strings.HasSuffix(f.Name(), recordEnding):
			g.Record = f.Name()
		}
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(b.Changed.Compare(a.Changed), cmp.Compare(b.ID, a.ID))
	})
	return groups, nil
}

// owner says by a file's name what it belongs to: an attack, or itself if it is a text. false: it is none of the recorder's.
func owner(name string) (id string, ours bool) {
	id, rest, found := strings.Cut(name, "_")
	if !found {
		return "", false
	}
	if stamp, isText := strings.CutSuffix(rest, textEnding); isText {
		_, err := time.Parse("02_01_06_15:04:05", stamp)
		return name, err == nil && id == safe(id, ":")
	}
	for _, ending := range []string{captureEnding, recordEnding, draftEnding} {
		if strings.HasSuffix(rest, ending) {
			return id, validID(id)
		}
	}
	return "", false
}

// Open opens an attack's capture. One that is still written, or was when the machine went down, ends with its last whole frame.
// Of an attack with frames of several link types it is the captures of all of them behind each other, which is a capture too.
// The error is ErrNotRecorded if there is none.
func Open(folder, id string) (io.ReadCloser, error) {
	e, err := find(folder, id)
	if err != nil {
		return nil, err
	}
	if len(e.Captures) == 0 {
		return nil, fmt.Errorf("open capture of attack %q: %w: none of its packets were sampled, or the file was removed for want of room", id, ErrNotRecorded)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	defer root.Close()
	all := &captures{}
	var readers []io.Reader
	for _, name := range e.Captures {
		f, err := root.Open(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open capture of attack %s: %w", id, err), all.Close())
		}
		all.files = append(all.files, f)
		size, err := wholeBlocks(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read capture of attack %s: %w", id, err), all.Close())
		}
		readers = append(readers, io.NewSectionReader(f, 0, size))
	}
	all.Reader = io.MultiReader(readers...)
	return all, nil
}

// captures are files read as one.
type captures struct {
	io.Reader
	files []*os.File
}

// Close closes all of them.
func (c *captures) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// ReadRecord returns the JSON record of an attack that is over. The error is ErrNotRecorded if there is none.
func ReadRecord(folder, id string) ([]byte, error) {
	e, err := find(folder, id)
	if err != nil {
		return nil, err
	}
	if e.Record == "" {
		return nil, fmt.Errorf("read record of attack %q: %w: it is written when the attack is over", id, ErrNotRecorded)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	defer root.Close()
	content, err := root.ReadFile(e.Record)
	if err != nil {
		return nil, fmt.Errorf("read record of attack %s: %w", id, err)
	}
	return content, nil
}

func find(folder, id string) (Entry, error) {
	entries, err := List(folder)
	if err != nil {
		return Entry{}, err
	}
	for _, e := range entries {
		if e.ID == id && !e.Text {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("find attack %q: %w: there never was one, or its files were removed for age or want of room", id, ErrNotRecorded)
}

// wholeBlocks is how many bytes of a capture are whole blocks.
func wholeBlocks(f io.ReaderAt) (int64, error) {
	const largest = 1 << 16 // of the blocks that this package writes
	var at int64
	var head [8]byte
	var tail [4]byte
	for {
		if _, err := f.ReadAt(head[:], at); errors.Is(err, io.EOF) {
			return at, nil
		} else if err != nil {
			return 0, err
		}
		length := binary.LittleEndian.Uint32(head[4:])
		if length < blockFrame || length%4 != 0 || length > largest {
			return at, nil
		}
		if _, err := f.ReadAt(tail[:], at+int64(length)-4); errors.Is(err, io.EOF) {
			return at, nil
		} else if err != nil {
			return 0, err
		}
		if string(tail[:]) != string(head[4:]) {
			return at, nil
		}
		at += int64(length)
	}
}
