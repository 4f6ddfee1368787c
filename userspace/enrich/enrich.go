// Package enrich says whose an address is: its AS and country from MaxMind-format files, its name by reverse DNS.
package enrich

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"weir/userspace/traffic"
)

// What an Options' zero fields stand for.
const (
	DefaultNameTimeout = 500 * time.Millisecond
	DefaultNameCache   = 4096
)

// mostFile is the largest database that is read: they lie in memory.
const mostFile = 1 << 30

// Options says where facts are from.
type Options struct {
	Files       []string      // databases in MaxMind's format, of ASes, countries or both; the first that knows something is taken
	Names       bool          // also ask DNS for names
	NameTimeout time.Duration // for all names of one call
	NameCache   int           // names that are remembered, also that there is none
	Resolver    Resolver      // nil: the system's
}

// Resolver is net.Resolver's reverse lookup.
type Resolver interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}

// Enricher knows whose addresses are. Its methods may be called by any goroutine.
type Enricher struct {
	options Options
	log     *slog.Logger
	files   atomic.Pointer[[]*file]
	names   *names
}

// file is one database and when it was written.
type file struct {
	path     string
	modified time.Time
	size     int64
	reader   *maxminddb.Reader
}

// New reads the files.
func New(o Options, log *slog.Logger) (*Enricher, error) {
	e := &Enricher{options: o, log: log.With("component", "enrich")}
	if o.Names {
		e.names = newNames(o)
	}
	var all []*file
	for _, path := range o.Files {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	e.files.Store(&all)
	return e, nil
}

// open reads a whole database into memory: it may be replaced on the disk at any time.
func open(path string) (*file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open database of addresses: %w", err)
	}
	if info.Size() > mostFile {
		return nil, fmt.Errorf("open database of addresses %s: %d bytes; expected at most %d", path, info.Size(), mostFile)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open database of addresses: %w", err)
	}
	reader, err := maxminddb.OpenBytes(content)
	if err != nil {
		return nil, fmt.Errorf("open database of addresses %s: %w; expected a file in MaxMind's format (.mmdb)", path, err)
	}
	return &file{path: path, modified: info.ModTime(), size: info.Size(), reader: reader}, nil
}

// Refresh reads those files again that have changed. One that cannot be read any more, or only in part, stays as it was.
func (e *Enricher) Refresh() {
	old := *e.files.Load()
	next := make([]*file, len(old))
	for i, f := range old {
		next[i] = f
		info, err := os.Stat(f.path)
		if err == nil && info.ModTime().Equal(f.modified) && info.Size() == f.size {
			continue
		}
		read, err := open(f.path)
		if err != nil {
			e.log.Error("database of addresses stays as it was", "error", err)
			continue
		}
		e.log.Info("database of addresses read again", "path", f.path)
		next[i] = read
	}
	e.files.Store(&next)
}

// Fill completes what is known of sources, in place. What no database knows stays as it is; names take at most the time that there is for them.
func (e *Enricher) Fill(ctx context.Context, sources []traffic.SourceShare) {
	for i := range sources {
		e.look(&sources[i])
	}
	if e.names != nil {
		e.names.fill(ctx, sources)
	}
}

// look asks the databases by MaxMind's names of fields, and by those of others who use its format.
func (e *Enricher) look(s *traffic.SourceShare) {
	for _, f := range *e.files.Load() {
		found := f.reader.Lookup(s.Source.Unmap())
		if !found.Found() {
			continue
		}
		if s.AS == 0 {
			if s.AS = number(found, "autonomous_system_number"); s.AS == 0 {
				s.AS = number(found, "asn")
			}
			if s.AS != 0 {
				s.ASName = cmp.Or(text(found, "autonomous_system_organization"), text(found, "as_name"))
			}
		}
		if code := cmp.Or(text(found, "country", "iso_code"), text(found, "country_code"), text(found, "country"), text(found, "registered_country", "iso_code")); s.Country == "" && len(code) == 2 {
			s.Country = strings.ToUpper(code)
		}
	}
}

// text is a field of a record; empty when it has none of this kind.
func text(r maxminddb.Result, path ...any) (value string) {
	if r.DecodePath(&value, path...) != nil {
		return ""
	}
	return value
}

// number is an AS number, which some write as "AS64500".
func number(r maxminddb.Result, path ...any) (value uint32) {
	if r.DecodePath(&value, path...) == nil {
		return value
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(text(r, path...), "AS"), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
