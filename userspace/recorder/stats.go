package recorder

import "sync/atomic"

type counters struct {
	frames, left, missed, bytes    atomic.Uint64
	files, records, texts          atomic.Uint64
	muted, refused, failed, pruned atomic.Uint64
	open, kept, used               atomic.Int64
}

// Stats is a snapshot of the Keeper's counters. Those of type uint64 only grow.
type Stats struct {
	Frames  uint64 // written to captures, or about to be
	Left    uint64 // frames of attacks that were left out of their captures, for these are bounded
	Missed  uint64 // frames, of anybody, that had left the ring before the Keeper looked at them while an attack was on
	Bytes   uint64 // written to captures
	Files   uint64 // captures begun
	Records uint64 // of attacks that are over, written
	Texts   uint64 // of FastNetMon's kind, written
	Muted   uint64 // attacks without a capture because too many were on
	Refused uint64 // records and texts not taken: too many wait, or no file can be called by the attack's identifier
	Failed  uint64 // writes that failed
	Pruned  uint64 // files removed for their age, number or size
	Open    int64  // attacks that are followed now
	Kept    int64  // attacks and texts in the folder
	Used    int64  // bytes of all files in the folder
}

// Stats returns the counters as they are now.
func (k *Keeper) Stats() Stats {
	c := &k.counters
	return Stats{
		Frames: c.frames.Load(), Left: c.left.Load(), Missed: c.missed.Load(), Bytes: c.bytes.Load(),
		Files: c.files.Load(), Records: c.records.Load(), Texts: c.texts.Load(),
		Muted: c.muted.Load(), Refused: c.refused.Load(), Failed: c.failed.Load(), Pruned: c.pruned.Load(),
		Open: c.open.Load(), Kept: c.kept.Load(), Used: c.used.Load(),
	}
}
