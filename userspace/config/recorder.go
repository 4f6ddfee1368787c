package config

import (
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"
)

const recordsFolder = "attacks" // beside the store

// Recorder is where captures and records of attacks are kept, and how much of them.
type Recorder struct {
	Path     string        // the folder; "": nowhere
	Attacks  int           // that are kept
	Size     int64         // bytes of all files
	Age      time.Duration // since a file was last written to
	FileSize int64         // bytes of one capture
	Ring     int64         // bytes of memory for the headers of packets from before an attack
	Text     bool          // also a text as FastNetMon writes it
}

// recorder decodes the section; path is told whether it names the folder.
func (d *decoder) recorder(r *Recorder, named *bool) decodeFunc {
	return d.section(
		field{"path", func(at string, n *yaml.Node) {
			*named = true
			d.path(&r.Path, true)(at, n)
		}},
		field{"attacks", d.count(&r.Attacks, 1, 1e6)},
		field{"size", d.size(&r.Size, 1e6, 1e13)},
		field{"age", d.duration(&r.Age, time.Minute, 10*366*24*time.Hour)},
		field{"file_size", d.size(&r.FileSize, 64<<10, 1e12)},
		field{"ring", d.size(&r.Ring, 64<<10, 1e10)},
		field{"fastnetmon_text", d.bool(&r.Text)},
	)
}

// recordsBesideStore is the folder when none is named.
func recordsBesideStore(store string) string {
	return filepath.Join(filepath.Dir(store), recordsFolder)
}
