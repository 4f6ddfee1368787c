package pcapfile_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/userspace/capture/pcapfile"
	"weir/userspace/packet"
	"weir/userspace/traffic"
)

// TestSharedCaptures reads the captures that lie beside the project, where they do: nearly all of it is traffic over IP.
func TestSharedCaptures(t *testing.T) {
	var files []string
	// The folder may be absent or unreadable: then there are no files.
	err := filepath.WalkDir(filepath.Join("..", "..", "..", "..", "shared", "data"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasPrefix(filepath.Ext(path), ".pcap") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no captures beside the project")
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			r, err := pcapfile.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}()
			frames, err := readAll(t, r)
			if err != nil {
				t.Fatal(err)
			}
			understood := 0
			for i, f := range frames {
				var p traffic.Packet
				if packet.ParseLink(f.Link, f.Data, f.Length, &p) == traffic.ReasonOK && p.Anomaly == traffic.AnomalyNone {
					understood++
				}
				if int(f.Length) < len(f.Data) || time.Unix(0, f.Time).Year() < 2000 {
					t.Errorf("frame %d: %d bytes of %d at %s", i+1, len(f.Data), f.Length, time.Unix(0, f.Time))
				}
			}
			t.Logf("%d frames, %d of them understood", len(frames), understood)
			if len(frames) == 0 || understood < len(frames)*9/10 {
				t.Errorf("understood %d of %d frames, want at least 9 of 10", understood, len(frames))
			}
		})
	}
}
