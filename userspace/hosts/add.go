//go:build !race

package hosts

// add is for counters that one goroutine writes and others read atomically. An atomic store would cost as much as all the rest
// of counting; a plain one of an aligned word is enough, because the Go memory model lets a reader of a word see nothing but
// a value that was written to it. The race detector cannot know that nothing more is asked for, see add_race.go.
func add(counter *uint32, n uint32) { *counter += n }
