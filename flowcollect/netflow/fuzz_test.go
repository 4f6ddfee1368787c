package netflow

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// split cuts what a fuzzer has made into datagrams: each one's length is in front of it.
func split(b []byte) (all [][]byte) {
	for len(b) >= 2 {
		n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
		all = append(all, b[2:2+n])
		b = b[2+n:]
	}
	return all
}

func together(datagrams ...[]byte) (b []byte) {
	for _, d := range datagrams {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(d))), d...)
	}
	return b
}

// sane checks what must be true of a session whatever it was sent.
func sane(t *testing.T, s *Session) {
	t.Helper()
	h := s.Health(noon())
	templates, fields, sets := 0, 0, 0
	for _, d := range s.domains {
		templates += len(d.templates)
		for id, one := range d.templates {
			fields += one.count
			if one.least == 0 || id < firstData {
				t.Errorf("template %d of %d bytes is in force", id, one.least)
			}
		}
		for _, q := range d.waiting {
			sets += q.sets
		}
		if len(d.samplers) > samplersMost || len(d.interfaces) > samplersMost || len(d.rates) > len(d.samplers) {
			t.Errorf("%d samplers, %d interfaces, %d rates", len(d.samplers), len(d.interfaces), len(d.rates))
		}
	}
	if templates != h.Templates || fields != s.fields || templates > s.opts.MaxTemplates || fields > s.opts.MaxTemplates*fieldsTemplate {
		t.Errorf("%d templates of %d fields; counted %d of %d", templates, fields, h.Templates, s.fields)
	}
	if sets != h.Waiting || h.PendingBytes > s.opts.MaxPendingBytes || h.UnknownTemplate != h.Decoded+h.GivenUp+uint64(h.Waiting) {
		t.Errorf("%d sets wait, %+v", sets, h)
	}
	listed, octets, last := 0, 0, (*waiting)(nil)
	for w := s.pending.oldest; w != nil && listed <= h.Waiting; last, w = w, w.newer {
		if listed, octets = listed+1, octets+w.bytes(); w.older != last {
			t.Errorf("set %d that waits is not behind the one before", listed)
		}
	}
	if listed != h.Waiting || octets != h.PendingBytes || s.pending.newest != last {
		t.Errorf("%d sets of %d bytes wait; counted %d of %d", listed, octets, h.Waiting, h.PendingBytes)
	}
	if len(s.domains) > s.opts.MaxDomains {
		t.Errorf("%d domains", len(s.domains))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(together(all()...))
	for _, b := range all() {
		f.Add(together(b))
		f.Add(together(b, b[:len(b)-3], b))
	}
	wideFields, wideRecord := wide()
	f.Add(together(ipfix(0, 0, setOf(300, wideRecord)), ipfix(0, 0, setOf(2, announce(300, wideFields...)), setOf(2, u16(2, 0)), setOf(300, wideRecord))))
	f.Add(together(v9(0, 0, setOf(0, announce(256)), setOf(256, u32(1, 2, 3))), v9(0, 0, setOf(0, announce(256, ieOctets, 0)), setOf(256, u32(1, 2, 3)))))
	f.Add(together(of([]uint16{ieSectionOctets, 2, ieFrameSection, variable}, u16(20), text(make([]byte, 60)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := session(func(o *Options) { o.MaxTemplates, o.MaxDomains, o.MaxPendingBytes = 8, 3, 4096 })
		for i, datagram := range split(b) {
			now := at(i * 10)
			before := s.Health(now)
			flows, err := decode(s, now, datagram)
			var bad *Error
			switch {
			case err == nil:
			case !errors.As(err, &bad) || len(flows) > 0:
				t.Fatalf("told %d records, error %v", len(flows), err)
			default:
				before.Errors++
				if diff := cmp.Diff(before, s.Health(now)); diff != "" {
					t.Fatalf("%v (-want +got)\n%s", err, diff)
				}
			}
			for _, one := range flows {
				if one.Rate == 0 || one.Packets == 0 || one.Start > one.End || one.End > now.UnixNano() || one.Src.BitLen() != one.Dst.BitLen() {
					t.Errorf("told %+v", one)
				}
			}
			sane(t, s)
		}
		data := keep(t, s)
		other := session(func(o *Options) { *o = s.opts })
		if err := other.Restore(data, noon()); err != nil {
			t.Fatalf("what was kept is not restored: %v", err)
		}
		sane(t, other)
	})
}

func FuzzRestore(f *testing.F) {
	f.Add(keep(f, known(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := session(func(o *Options) { o.MaxTemplates, o.MaxDomains = 8, 4 })
		take(t, s, 0, ipfix(0, 0, setOf(300, u32(1))))
		before := s.Health(noon())
		if err := s.Restore(data, noon()); err != nil {
			if diff := cmp.Diff(before, s.Health(noon())); diff != "" {
				t.Errorf("%v has changed (-before +after)\n%s", err, diff)
			}
		}
		sane(t, s)
		if err := s.Decode(v5(0, 0, record5(1)), noon(), func(*traffic.Flow) {}); err != nil {
			t.Logf("no room: %v", err)
		}
	})
}
