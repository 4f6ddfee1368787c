package store

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

func TestOpenErrors(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first, _ := mustOpen(t, filepath.Join(folder, "weir.db"), Options{})
	defer mustClose(t, first)
	tests := []struct{ name, path, want string }{
		{"two openers", filepath.Join(folder, "weir.db"), "open store " + filepath.Join(folder, "weir.db") + ": locked by another process; stop the other weir, or give each its own path"},
		{"below a file", filepath.Join(file, "weir.db"), "check the disk and the path, or configure another one"},
		{"a folder", folder, "check the disk and the path, or configure another one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.path, Options{LockTimeout: 50 * time.Millisecond}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "open store "+tt.path) {
				t.Errorf("error %v; want one with %q", err, tt.want)
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*damaged*")); err != nil || len(left) > 0 {
		t.Errorf("moved aside: %v, %v", left, err)
	}
	if got := explain("/p", os.ErrPermission).Error(); !strings.Contains(got, "the right to write") {
		t.Errorf("permission denied is explained as %q", got)
	}
}

func TestKilledInTheMiddleOfAWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writeUntilKilled+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var written []string
	lines := bufio.NewScanner(out)
	for len(written) < 100 && lines.Scan() {
		written = append(written, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	for lines.Scan() {
		written = append(written, lines.Text())
	}
	if err := cmd.Wait(); err == nil || len(written) < 100 {
		t.Fatalf("the helper ended by itself after %d records: %v", len(written), err)
	}
	s, log := mustOpen(t, path, Options{})
	defer mustClose(t, s)
	var ids []string
	for _, r := range load(t, s) {
		ids = append(ids, r.Attack.ID)
	}
	for _, id := range written {
		if !slices.Contains(ids, id) {
			t.Errorf("record %s was on disk before the kill and is lost", id)
		}
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
}

// TestDamagedFile spoils a good file in many ways. Whatever comes of it, the store opens, works, and says so when it began anew.
func TestDamagedFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "good.db")
	s, _ := mustOpen(t, path, Options{})
	for i := range 300 {
		s.Put(sample(i))
		s.Put(over(sample(1000 + i)))
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	var used int64
	if err := s.db.View(func(tx *bbolt.Tx) error {
		used = tx.Size()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	random := rand.New(rand.NewPCG(1, 2))
	spoiled := map[string][]byte{"text": []byte("not a database\n"), "half": good[:len(good)/2], "tail cut off": good[:int(used)-page], "two pages": good[:2*page], "zeros": make([]byte, len(good))}
	disorder := []byte(sample(100).Attack.ID + `{"v"`) // where a key and its value touch in a page
	if !bytes.Contains(good, disorder) {
		t.Fatal("no such key in the file")
	}
	spoiled["keys out of order"] = bytes.ReplaceAll(good, disorder, append([]byte("9"), disorder[1:]...))
	mustSay := map[string]string{"text": "invalid database", "zeros": "invalid database", "half": "damaged", "tail cut off": "damaged", "keys out of order": "damaged"}
	for i := range 40 {
		b := bytes.Clone(good)
		from := random.IntN(len(b)/page) * page
		if i < 3 {
			from = 0 // both of the pages that everything hangs on
			copy(b[page:], make([]byte, 100))
		}
		for j := range b[from : from+200] {
			b[from+j] = byte(random.Uint32())
		}
		spoiled[fmt.Sprintf("page %d, try %d", from/page, i)] = b
	}
	anew := 0
	for name, content := range spoiled {
		path := filepath.Join(folder, "spoiled.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, log := mustOpen(t, path, Options{})
		if want, sure := mustSay[name]; sure && !strings.Contains(log.String(), want) {
			t.Errorf("%s: log %q, want something with %q", name, log, want)
		}
		records := load(t, s)
		s.Put(sample(2000))
		mustClose(t, s)
		aside, err := filepath.Glob(path + ".damaged-*")
		if err != nil {
			t.Fatal(err)
		}
		switch began := strings.Contains(log.String(), "moved aside"); {
		case began != (len(aside) == 1):
			t.Errorf("%s: log %q, and beside the file: %v", name, log, aside)
		case began && len(records) != 0:
			t.Errorf("%s: %d records in a new file", name, len(records))
		case began:
			anew++
			if kept, err := os.ReadFile(aside[0]); err != nil || len(kept) < min(len(content), 2*page) && len(content) > page {
				t.Errorf("%s: what was moved aside has %d bytes of %d, error %v", name, len(kept), len(content), err)
			}
		}
		for _, f := range append(aside, path) {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	if anew < 10 {
		t.Errorf("only %d of %d spoiled files were found out", anew, len(spoiled))
	}
}

func TestMoveAsideTakesAFreeName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	var got []string
	for range 3 {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		aside, err := moveAside(path, at)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimPrefix(aside, path))
	}
	if diff := cmp.Diff(got, []string{".damaged-20260301T120000Z", ".damaged-20260301T120000Z-2", ".damaged-20260301T120000Z-3"}); diff != "" {
		t.Errorf("names (-got +want):\n%s", diff)
	}
}
