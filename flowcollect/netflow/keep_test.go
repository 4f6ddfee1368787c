package netflow

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// known is a session that knows templates and samplers of several domains.
func known(t testing.TB) *Session {
	s := session()
	take(t, s, 0, v9(0, 0, setOf(0, announce(256, plain()...)), setOf(1, announceOptions9(300, 1, 1, 4, ieSamplerID, 2, ieSamplerInterval, 4)), setOf(300, u32(0), u16(5), u32(100))))
	take(t, s, 0, ipfix(0, 0, setOf(2, announceAny(256, append(short(), 82, variable, 0x8001, 4, 0, reverse)...)), setOf(3, announceOptions10(300, 1, ieInput, 4, ieSamplingInterval, 4)),
		setOf(300, u32(3, 200))))
	take(t, s, 0, ipfixOf(0, 0, 0, setOf(3, announceOptions10(300, 1, 144, 4, ieSamplingInterval, 4)), setOf(300, u32(3, 1000))))
	take(t, s, 0, v5(0, 0, record5(1)))
	return s
}

func keep(t testing.TB, s *Session) []byte {
	t.Helper()
	data, err := s.Templates()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestKeep(t *testing.T) {
	s := known(t)
	data := keep(t, s)
	restored := session()
	if err := restored.Restore(data, at(10)); err != nil {
		t.Fatal(err)
	}
	type inventory struct {
		Templates []Template
		Samplers  []Sampler
	}
	inventoryOf := func(s *Session) (all []inventory) {
		for _, d := range s.Health(noon()).Domains {
			if d.Templates > 0 {
				all = append(all, inventory{d.TemplateList, d.SamplerList})
			}
		}
		return all
	}
	if diff := cmp.Diff(inventoryOf(s), inventoryOf(restored)); diff != "" {
		t.Errorf("(-kept +restored)\n%s", diff)
	}
	if got, want := restored.Health(noon()).Templates, s.Health(noon()).Templates; got != want {
		t.Errorf("%d templates, want %d", got, want)
	}
	data9 := v9(1, 10, setOf(256, record(10)))
	want := take(t, s, 10, data9)
	if diff := cmp.Diff(want, take(t, restored, 10, data9), same()); diff != "" || len(want) != 1 {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := take(t, restored, 10, ipfixOf(12, 0, 10, setOf(2, announce(256, short()...)), setOf(256, shortRecord(1)))); len(got) != 1 || got[0].Rate != 1000 {
		t.Errorf("told %+v, want one in 1000 as of the whole exporter", got)
	}
	if again := keep(t, known(t)); !bytes.Equal(data, again) {
		t.Errorf("the same is kept as\n%s\nand\n%s", data, again)
	}
}

// What was kept for too long is left out.
func TestKeepOld(t *testing.T) {
	s := session()
	if err := s.Restore(keep(t, known(t)), noon().Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if h := s.Health(noon()); h.Templates != 0 {
		t.Errorf("%d templates are restored", h.Templates)
	}
}

// Whatever is damaged, nothing is restored.
func TestRestoreDamaged(t *testing.T) {
	data := keep(t, known(t))
	s := session()
	take(t, s, 0, ipfixOf(99, 0, 0, setOf(2, announce(256, short()...))))
	before := s.Health(noon())
	refuse := func(what string, damaged []byte) {
		if err := s.Restore(damaged, noon()); err == nil || !strings.HasPrefix(err.Error(), "restore templates") {
			t.Errorf("%s: error %v", what, err)
		}
		if diff := cmp.Diff(before, s.Health(noon())); diff != "" {
			t.Errorf("%s has changed (-before +after)\n%s", what, diff)
		}
	}
	for i := range data {
		for _, bit := range []byte{1, 0x10} {
			damaged := bytes.Clone(data)
			damaged[i] ^= bit
			refuse("a bit", damaged)
		}
		refuse("what is cut off", data[:i])
	}
}

// What has a right sum may still be nonsense.
func TestRestoreNonsense(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*domain)
	}{
		{"no length", func(d *domain) { d.templates[256].raw = join(u16(ieSource4, 0)); d.templates[256].count = 1 }},
		{"more fields than there are", func(d *domain) { d.templates[256].count++ }},
		{"fewer fields than there are", func(d *domain) { d.templates[256].count-- }},
		{"negative", func(d *domain) { d.templates[256].count = -1 }},
		{"negative scopes", func(d *domain) { d.templates[256].scopes = -1 }},
		{"scopes of no options", func(d *domain) { d.templates[256].scopes = 1 }},
		{"number", func(d *domain) { d.templates[3] = d.templates[256] }},
		{"sampler", func(d *domain) { d.samplers[9] = 0 }},
		{"interface", func(d *domain) { d.interfaces = map[uint32]uint32{1: 0} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := known(t)
			for key, d := range s.domains {
				if key.id == 7 && d.samplers != nil {
					tt.change(d)
				}
			}
			if err := session().Restore(keep(t, s), noon()); err == nil {
				t.Error("restored")
			}
		})
	}
	few := session(func(o *Options) { o.MaxTemplates = 2 })
	if err := few.Restore(keep(t, known(t)), noon()); err == nil {
		t.Error("more templates are restored than are allowed")
	}
	few = session(func(o *Options) { o.MaxDomains = 1 })
	if err := few.Restore(keep(t, known(t)), noon()); err == nil {
		t.Error("more domains are restored than are allowed")
	}
}
