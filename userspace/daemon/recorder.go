package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"weir/userspace/config"
	"weir/userspace/networks"
	"weir/userspace/notify"
	"weir/userspace/recorder"
	"weir/userspace/traffic"
)

// records keeps captures and records of attacks; nil where none are kept.
type records struct {
	ring   *recorder.Ring
	keeper *recorder.Keeper
	texts  bool
	folder string
}

// newRecords begins to keep headers; nothing is written before the keeper runs.
func (d *daemon) newRecords(cfg *config.Config) (*records, error) {
	r := &cfg.Recorder
	if r.Path == "" {
		return nil, nil
	}
	path, err := filepath.Abs(r.Path)
	if err != nil {
		return nil, fmt.Errorf("find folder for captures: %w", err)
	}
	out := &records{ring: recorder.NewRing(int(r.Ring)), texts: r.Text, folder: path}
	out.keeper, err = recorder.New(recorder.Options{
		Folder: path, Attacks: r.Attacks, Bytes: r.Size, Age: r.Age, FileBytes: r.FileSize,
		Interface: func(index int) string {
			i, err := net.InterfaceByIndex(index)
			if err != nil {
				return "" // it has gone
			}
			return i.Name
		},
		Hostgroup: func(host netip.Addr) string { return d.members.Load().name(host) },
	}, out.ring, d.opts.Log)
	return out, err
}

// put tells of an attack.
func (r *records) put(record traffic.Record) {
	if r != nil {
		r.keeper.Put(record)
	}
}

// text keeps the text that FastNetMon writes about a ban.
func (r *records) text(n *notify.Notification) {
	if r != nil && r.texts {
		r.keeper.Text(notify.Subject(n.Record.Attack.Target), n.Record.Ban.Since, notify.Report(&n.Record, n.Packets))
	}
}

// frame keeps a sampled frame.
func (r *records) frame(f *traffic.Frame, rate uint32, p *traffic.Packet) {
	if r != nil {
		r.ring.Add(&traffic.Sample{Time: time.Unix(0, f.Time), Rate: rate, Length: f.Length, Data: f.Data[:min(len(f.Data), traffic.SampleBytes)]}, f.Link, p.Dst, p.Src)
	}
}

// members names hostgroups, for other goroutines than the main loop.
type members struct {
	table *networks.Table
	names []string
}

func (m *members) name(host netip.Addr) string {
	if g, ours := m.table.Group(host); ours {
		return m.names[g]
	}
	return ""
}

func membersOf(cfg *config.Config, table *networks.Table) *members {
	m := &members{table: table}
	for _, g := range cfg.Hostgroups {
		m.names = append(m.names, g.Name)
	}
	return m
}

// closeRecords writes what is left. A disk that takes nothing has been told of, and is no reason for the daemon to fail.
func (d *daemon) closeRecords() error {
	if d.records == nil {
		return nil
	}
	if err := d.records.keeper.Close(); err != nil {
		d.log.Warn("records of attacks are incomplete", "error", err)
	}
	return nil
}
