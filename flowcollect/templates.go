package flowcollect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"
)

// keepEvery is how often templates are looked at for changes, and keepAnew how often they are taken again although there are none: how
// fresh they are is kept as well.
const (
	keepEvery = 10 * time.Second
	keepAnew  = 10 * time.Minute
)

// kept is what of an exporter outlives a restart.
type kept struct {
	Address   netip.Addr `json:"address"`
	At        time.Time  `json:"at"`
	Templates []byte     `json:"templates"` // in the decoder's form; nil: there is nothing to keep
}

// keptFile is the file of templates.
type keptFile struct {
	Version   int    `json:"version"`
	Exporters []kept `json:"exporters"` // by address
}

const (
	keptVersion = 1
	keptBytes   = 64 << 20 // as much is read at most
)

// keep takes what of an exporter is to outlive a restart: anew when something has changed, or when what there is is older than so much.
func (d *Decoder) keep(x *exporter, now time.Time, older time.Duration) kept {
	if x.netflow == nil {
		return kept{}
	}
	h := x.netflow.Health(now)
	changes := h.Counts.Templates + h.Withdrawn + h.Expired
	for i := range h.Domains {
		changes += uint64(h.Domains[i].Samplers)
	}
	if h.Templates == 0 {
		return kept{}
	}
	if x.kept.Templates != nil && x.keptOf == changes && now.Sub(x.kept.At) < older {
		return x.kept
	}
	data, err := x.netflow.Templates()
	if err != nil {
		d.opts.Log.Error("an exporter's templates cannot be kept", "exporter", x.address.String(), "error", err)
		return kept{}
	}
	x.kept, x.keptOf = kept{x.address, now, data}, changes
	return x.kept
}

// templates adds what is to outlive a restart to what other decoders have: the newest of each exporter.
func (d *Decoder) templates(all map[netip.Addr]kept, now time.Time, older time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	add := func(k kept) {
		if k.Templates != nil && now.Sub(k.At) < d.opts.TemplateLife && !k.At.Before(all[k.Address].At) {
			all[k.Address] = k
		}
	}
	for address, k := range d.restored {
		if d.exporters[address] == nil {
			add(k)
		}
	}
	for _, x := range d.exporters {
		add(d.keep(x, now, older))
	}
}

// restore gives an exporter's new session what was kept of it.
func (d *Decoder) restore(x *exporter) {
	k, ok := d.restored[x.address]
	if !ok {
		return
	}
	delete(d.restored, x.address)
	if d.now.Sub(k.At) > d.opts.TemplateLife {
		return
	}
	if err := x.netflow.Restore(k.Templates, d.now); err != nil {
		d.opts.Log.Warn("an exporter's templates of before are lost; it sends them again", "exporter", x.address.String(), "error", err)
	}
}

// keeper keeps templates and sampling rates over a restart, in one file that is replaced as a whole.
type keeper struct {
	path    string
	written map[netip.Addr]time.Time // what the file holds: of whom, and as of when
	failed  string                   // what the last attempt was wrong with
}

// read returns what the file holds; nothing when there is none, or when it is damaged.
func (k *keeper) read() (map[netip.Addr]kept, error) {
	if k.path == "" {
		return nil, nil
	}
	info, err := os.Stat(k.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read templates: %w", err)
	case info.Size() > keptBytes:
		return nil, fmt.Errorf("read templates: %s has %d bytes; expected at most %d", k.path, info.Size(), keptBytes)
	}
	data, err := os.ReadFile(k.path)
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	all, err := parseKept(data)
	if err != nil {
		return nil, fmt.Errorf("read templates from %s: %w", k.path, err)
	}
	return all, nil
}

func parseKept(data []byte) (map[netip.Addr]kept, error) {
	var file keptFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("the file is damaged: %w", err)
	}
	if file.Version != keptVersion {
		return nil, fmt.Errorf("version %d; expected %d", file.Version, keptVersion)
	}
	all := make(map[netip.Addr]kept, len(file.Exporters))
	for _, x := range file.Exporters {
		if !x.Address.IsValid() || x.Templates == nil {
			return nil, fmt.Errorf("the file is damaged: an exporter without address or templates")
		}
		all[x.Address] = x
	}
	return all, nil
}

// write writes the templates of all workers, unless nothing has changed and none is older than so much.
func (k *keeper) write(decoders []*Decoder, now time.Time, older time.Duration) error {
	if k.path == "" {
		return nil
	}
	all := map[netip.Addr]kept{}
	for _, d := range decoders {
		d.templates(all, now, older)
	}
	written := make(map[netip.Addr]time.Time, len(all))
	for address, x := range all {
		written[address] = x.At
	}
	if maps.Equal(written, k.written) || len(all) == 0 && k.written == nil {
		return nil
	}
	file := keptFile{keptVersion, slices.SortedFunc(maps.Values(all), func(a, b kept) int { return cmp.Or(a.Address.Compare(b.Address), a.At.Compare(b.At)) })}
	data, err := json.Marshal(file)
	if err == nil {
		err = replaceFile(k.path, data)
	}
	if err != nil {
		return fmt.Errorf("keep templates: %w", err)
	}
	k.written = written
	return nil
}

// replaceFile writes a file beside another one and puts it in its place.
func replaceFile(path string, data []byte) error {
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return nil
}
