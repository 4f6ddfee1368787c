package sandbox

import (
	"errors"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// How many instructions run between two looks at the clock. Most calls end within the first slice and never look.
const (
	slice       = 1024
	promptSlice = 64
)

// bytesAStep is how many bytes a library function may handle for the price of an instruction.
const bytesAStep = 16

// fuel stops a script that runs away. To the interpreter it is a context: it asks Done before each instruction, which is counted
// here. Time runs from the end of the first slice, so that a short call is not blamed when the whole process was held up; for callers that
// cannot wait it runs from the start.
type fuel struct {
	slice  int
	prompt bool
	text   int // bytes of text that a call may make; 0: any

	left  int // of this slice; below 0: look at the clock
	used  int // instructions in slices before
	made  int // bytes of text
	limit time.Duration
	began time.Time // zero: the clock was not looked at yet
	out   bool
	full  bool          // it is out because of its text
	done  chan struct{} // closed
}

var (
	errStopped = errors.New("stopped: it takes too long")
	errFull    = errors.New("stopped: it makes too much text")
)

func newFuel(o *Options) *fuel {
	f := &fuel{slice: slice, prompt: o.Prompt, text: o.Text, done: make(chan struct{})}
	if o.Prompt {
		f.slice = promptSlice
	}
	close(f.done)
	return f
}

// fill starts a call.
func (f *fuel) fill(limit time.Duration) {
	f.left, f.used, f.made, f.limit, f.began, f.out, f.full = f.slice, 0, 0, limit, time.Time{}, false, false
	if f.prompt {
		f.began = time.Now()
	}
}

// burnt is how many instructions the call has used.
func (f *fuel) burnt() int { return f.used + f.slice - f.left }

// Done is called by the interpreter before each instruction.
func (f *fuel) Done() <-chan struct{} {
	f.left--
	if f.left >= 0 {
		return nil
	}
	return f.look()
}

func (f *fuel) look() <-chan struct{} {
	if !f.out {
		now := time.Now()
		if f.began.IsZero() {
			f.began = now
		}
		f.out = now.Sub(f.began) > f.limit
		f.used += f.slice - f.left
		f.left = f.slice
	}
	if f.out {
		f.left = 0
		return f.done
	}
	return nil
}

// charge counts the work of a library function on so many bytes or entries.
func (f *fuel) charge(bytes int) { f.left -= bytes / bytesAStep }

// write counts text that a library function is about to make, and stops the call when that is too much in all.
func (f *fuel) write(l *lua.LState, bytes int) {
	f.charge(bytes)
	f.made += bytes
	if f.text > 0 && f.made > f.text {
		f.out, f.full, f.left = true, true, 0
		l.RaiseError("%s", errFull)
	}
}

// step counts one step of a library function, and stops it when nothing is left.
func (f *fuel) step(l *lua.LState) {
	f.left--
	if f.left < 0 && f.look() != nil {
		l.RaiseError("%s", f.Err())
	}
}

// bound is what was exceeded when it is out.
func (f *fuel) bound() string {
	if f.full {
		return fmt.Sprintf("more than %d bytes", f.text)
	}
	return fmt.Sprintf("more than %s", f.limit)
}

// Deadline is part of the context: there is none.
func (f *fuel) Deadline() (time.Time, bool) { return time.Time{}, false }

// Err is what the script is stopped with.
func (f *fuel) Err() error {
	if f.full {
		return errFull
	}
	return errStopped
}

// Value is part of the context: it holds none.
func (f *fuel) Value(any) any { return nil }
