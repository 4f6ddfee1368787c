package flowcollect

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// restart writes a decoder's templates to a file, and returns a decoder that begins with them.
func restart(t *testing.T, b *bed, path string, now time.Time) *bed {
	t.Helper()
	k := keeper{path: path}
	if err := k.write([]*Decoder{b.Decoder}, now, 0); err != nil {
		t.Fatal(err)
	}
	all, err := (&keeper{path: path}).read()
	if err != nil {
		t.Fatal(err)
	}
	next := newBed(t, Options{})
	next.restored = all
	return next
}

func TestTemplatesOutliveRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "templates")
	b := newBed(t, Options{})
	data := netflow9(2, 7, set(256, one{}.data(0)))
	b.take(memberA, at(0), netflow9(1, 7, template9()))
	b.take(memberB, at(0), ipfix(0, 7, template10()))
	b.take(memberC, at(0), netflow5(0, 0, one{}))
	next := restart(t, b, path, at(1))
	next.take(memberA, at(2), data)
	if len(next.flows) != 1 || next.only(at(2)).UnknownTemplate != 0 {
		t.Fatalf("told %d records, %+v", len(next.flows), next.only(at(2)))
	}
	// Who was not heard meanwhile is still remembered at the next restart.
	third := restart(t, next, path, at(3))
	third.take(memberB, at(4), ipfix(0, 7, set(256, one{}.data(0))))
	third.take(memberA, at(4), data)
	if len(third.flows) != 2 {
		t.Errorf("told %d records after the second restart", len(third.flows))
	}
	// But not for ever.
	old := newBed(t, Options{})
	old.restored = map[netip.Addr]kept{addr(memberA): {addr(memberA), at(0), []byte("{}")}}
	all := map[netip.Addr]kept{}
	old.templates(all, at(0).Add(25*time.Hour), 0)
	if len(all) != 0 {
		t.Errorf("kept for longer than templates live: %v", all)
	}
}

func TestKeeper(t *testing.T) {
	path := filepath.Join(t.TempDir(), "templates")
	b := newBed(t, Options{})
	k := keeper{path: path}
	write := func(seconds int) {
		t.Helper()
		if err := k.write([]*Decoder{b.Decoder}, at(seconds), keepAnew); err != nil {
			t.Fatal(err)
		}
	}
	written := func() bool {
		t.Helper()
		err := os.Remove(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, step := range []struct {
		name string
		do   func()
		at   int
		want bool
	}{
		{"nothing yet", func() {}, 0, false},
		{"the first template", func() { b.take(memberA, at(1), netflow9(1, 7, template9())) }, 2, true},
		{"nothing new", func() {}, 12, false},
		{"the same one again, and records", func() { b.take(memberA, at(13), netflow9(2, 7, template9(), set(256, one{}.data(0)))) }, 22, false},
		{"another one", func() { b.take(memberA, at(23), netflow9(3, 7, set(0, words16(257, fieldCount), fields()))) }, 24, true},
		{"after a while, how fresh they are", func() {}, 24 + 600, true},
		{"another exporter", func() { b.take(memberB, at(700), netflow9(1, 7, template9())) }, 700, true},
	} {
		step.do()
		write(step.at)
		if got := written(); got != step.want {
			t.Errorf("%s: written %t, want %t", step.name, got, step.want)
		}
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the new file's own name is left behind: %v", err)
	}
}

func TestKeptDamaged(t *testing.T) {
	good := `{"version":1,"exporters":[{"address":"192.0.2.1","at":"2026-11-23T00:00:00Z","templates":"e30="}]}`
	for _, tt := range []struct{ name, data, want string }{
		{"good", good, ""},
		{"cut off", good[:len(good)-1], "damaged"},
		{"empty", "", "damaged"},
		{"another version", strings.Replace(good, `"version":1`, `"version":2`, 1), "version 2; expected 1"},
		{"no address", strings.Replace(good, "192.0.2.1", "", 1), "without address or templates"},
		{"bad address", strings.Replace(good, "192.0.2.1", "192.0.2", 1), "damaged"},
		{"no templates", strings.Replace(good, `,"templates":"e30="`, "", 1), "without address or templates"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "templates")
			if err := os.WriteFile(path, []byte(tt.data), 0o600); err != nil {
				t.Fatal(err)
			}
			all, err := (&keeper{path: path}).read()
			if tt.want == "" {
				if err != nil || len(all) != 1 {
					t.Errorf("got %v, error %v", all, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || all != nil {
				t.Errorf("got %v, error %v; want %q", all, err, tt.want)
			}
		})
	}
}

// Of an exporter whose part is damaged nothing is restored, and it goes on as if there were nothing.
func TestRestoreDamaged(t *testing.T) {
	b := newBed(t, Options{})
	b.restored = map[netip.Addr]kept{addr(memberA): {addr(memberA), at(0), []byte("no templates")}}
	b.take(memberA, at(1), netflow9(1, 7, template9(), set(256, one{}.data(0))))
	if len(b.flows) != 1 {
		t.Errorf("told %d records", len(b.flows))
	}
}

// The file's folder may not be there; that is told, and the next attempt is not the last.
func TestKeeperFails(t *testing.T) {
	b := newBed(t, Options{})
	b.take(memberA, at(0), netflow9(1, 7, template9()))
	dir := filepath.Join(t.TempDir(), "later")
	k := keeper{path: filepath.Join(dir, "templates")}
	if err := k.write([]*Decoder{b.Decoder}, at(0), keepAnew); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("error %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.write([]*Decoder{b.Decoder}, at(0), keepAnew); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(k.path); err != nil {
		t.Error(err)
	}
}

// An exporter that has lost its place finds its templates again.
func TestEvictedTemplates(t *testing.T) {
	b := newBed(t, Options{MaxExporters: 1})
	b.take(memberA, at(0), netflow9(1, 7, template9()))
	b.take(memberA, at(100), netflow9(2, 7, set(256, one{}.data(0))))
	b.take(memberB, at(800), netflow5(0, 0, one{}))
	b.take(memberA, at(1500), netflow9(3, 7, set(256, one{}.data(0))))
	if s := b.only(at(1500)); len(b.flows) != 3 || s.UnknownTemplate != 0 {
		t.Errorf("told %d records, %d unknown templates", len(b.flows), s.UnknownTemplate)
	}
}
