package plugin

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Kind is what a plug-in does.
type Kind uint8

// The order is that of Kind in plugin.proto, whose zero means unspecified.
const (
	KindSource    Kind = iota // brings packets or flow records
	KindSink                  // is told of attacks and traffic
	KindDetector              // is told the same, and says when there is an attack
	KindMitigator             // puts bans in force
	kindCount
)

var kindNames = [kindCount]string{"source", "sink", "detector", "mitigator"}

// String returns the kind's name as it stands in the configuration.
func (k Kind) String() string {
	if k < kindCount {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind is the inverse of String.
func ParseKind(name string) (Kind, error) {
	if i := slices.Index(kindNames[:], name); i >= 0 {
		return Kind(i), nil
	}
	return 0, fmt.Errorf("unknown kind of plug-in %q; expected one of %s", name, strings.Join(kindNames[:], ", "))
}

// Options says which program is run, and what it may do.
type Options struct {
	Name        string   // letters, digits, "-" and "_", at most 32
	Command     []string // the program's absolute path and its arguments; no shell
	Kinds       []Kind   // that it may be
	Settings    string   // told to the program as they are
	Version     string   // Weir's, told to the program
	Folder      string   // absolute; the socket is in a folder NAME therein, which is the program's alone
	User        string   // that the program runs as; empty: as Weir does. Needs the rights to become another user
	Environment []string // KEY=VALUE beside PATH, HOME, LANG, TZ and TMPDIR, which are handed on, and what Weir sets
	Limits      Limits
}

// Limits bounds what the program may cost. A zero field stands for its default.
type Limits struct {
	Batch      int // records in one call: 10000
	Flows      int // flow records in a second: 100000
	Packets    int // in a second: 100000
	Detections int // calls of Detect in a second, and attacks at a time: 100
	Results    int // of bans, in a second: 10000
	Message    int // bytes of one request: 16 MiB
	Calls      int // under way at once: 32
	Changes    int // that wait to be fetched: 256, of 16 KiB each on average
	Lines      int // of its output that are logged in a minute: 60

	Start        time.Duration // between its start and its Hello: 10 s
	Repeat       time.Duration // between two signs that a detected attack goes on: 60 s
	Wait         time.Duration // of a call that waits for news: 60 s
	Patience     time.Duration // for reading one request or writing one answer: 10 s
	Grace        time.Duration // between asking it to end and killing it: 5 s
	BackoffFirst time.Duration // before it is started again: 1 s; twice as long after each further end, ...
	BackoffLast  time.Duration // ... up to 60 s, until it has run for so long
}

func (o Options) withDefaults() Options {
	l := &o.Limits
	for _, n := range []struct {
		value    *int
		standard int
	}{
		{&l.Batch, 10000}, {&l.Flows, 100000}, {&l.Packets, 100000}, {&l.Detections, 100}, {&l.Results, 10000},
		{&l.Message, 16 << 20}, {&l.Calls, 32}, {&l.Changes, 256}, {&l.Lines, 60},
	} {
		if *n.value <= 0 {
			*n.value = n.standard
		}
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&l.Start, 10 * time.Second}, {&l.Repeat, time.Minute}, {&l.Wait, time.Minute}, {&l.Patience, 10 * time.Second},
		{&l.Grace, 5 * time.Second}, {&l.BackoffFirst, time.Second}, {&l.BackoffLast, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	l.BackoffLast = max(l.BackoffLast, l.BackoffFirst)
	return o
}

// may reports whether the configuration allows the program to be of a kind.
func (o *Options) may(k Kind) bool { return slices.Contains(o.Kinds, k) }

// maxSocketPath is how long a Unix socket's path may be on every system: FreeBSD and macOS have 104 bytes with a final zero (sys/un.h).
const maxSocketPath = 103

func (o *Options) check() error {
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`).MatchString(o.Name) {
		return errors.New(`its name must be 1 to 32 letters, digits, "-" or "_"`)
	}
	if len(o.Command) == 0 || !filepath.IsAbs(o.Command[0]) {
		return errors.New("its command must begin with the program's absolute path")
	}
	if len(o.Kinds) == 0 {
		return fmt.Errorf("it has no kind; name what it may be: %s", strings.Join(kindNames[:], ", "))
	}
	for _, k := range o.Kinds {
		if k >= kindCount {
			return fmt.Errorf("%s is not a kind", k)
		}
	}
	if !filepath.IsAbs(o.Folder) {
		return errors.New("the folder of sockets must be an absolute path")
	}
	if path := o.socket(); len(path) > maxSocketPath {
		return fmt.Errorf("the path of its socket, %s, is longer than %d bytes; choose a shorter folder or name", path, maxSocketPath)
	}
	for _, e := range o.Environment {
		if key, _, ok := strings.Cut(e, "="); !ok || key == "" {
			return fmt.Errorf("environment %q: expected KEY=VALUE", e)
		}
	}
	return nil
}

// folder is the program's own folder, and socket the path of its socket therein.
func (o *Options) folder() string { return filepath.Join(o.Folder, o.Name) }
func (o *Options) socket() string { return filepath.Join(o.folder(), "weir.sock") }
