// Package decide lets a Lua script of the operator have a say in what Weir decides: about thresholds, attacks, and what is done about them.
package decide

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gaissmai/bart"
	lua "github.com/yuin/gopher-lua"

	"weir/userspace/sandbox"
	"weir/userspace/traffic"
)

// What a script may use unless Options say otherwise.
const (
	DefaultTimeout     = 20 * time.Millisecond
	DefaultLoadTimeout = 5 * time.Second
	DefaultMemory      = 16 << 20
	DefaultMaxRunaways = 3
)

// Options bound what a script may use.
type Options struct {
	Path        string
	Timeout     time.Duration // of one call; 0: DefaultTimeout
	LoadTimeout time.Duration // of the script's own statements, which define the hooks; 0: DefaultLoadTimeout
	Memory      int           // bytes: what its variables may take, by estimate, and the text that one call may make; 0: DefaultMemory
	MaxRunaways int           // calls in a row that were stopped, after which the script is switched off; 0: DefaultMaxRunaways
}

func (o *Options) complete() {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.LoadTimeout <= 0 {
		o.LoadTimeout = DefaultLoadTimeout
	}
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.MaxRunaways <= 0 {
		o.MaxRunaways = DefaultMaxRunaways
	}
}

// Script is a script with its variables. One goroutine calls its hooks; Stats may be asked for by any. docs/HOOKS.md describes the language.
type Script struct {
	o        Options
	log      *slog.Logger
	state    *sandbox.State
	hooks    [hookCount]*lua.LFunction // nil: the script does not define it
	shapes   shapes
	runaways int  // in a row
	off      bool // as Stats say
	told     time.Time

	mu    sync.Mutex
	stats Stats
}

// Verdict is what a hook says to what Weir has found. The zero Verdict is: go on.
type Verdict struct {
	Veto bool
	Why  string // of a veto; never empty then
}

// Change is what a hook wants otherwise about a response. The zero Change is: nothing.
type Change struct {
	Veto         bool   // nothing is done about the attack
	Why          string // of a veto (never empty then) or of a change
	Drop, Notify *bool
	Rung         int            // of the hostgroup's ladder, from 1; 0: as it was
	BanTime      *time.Duration // 0: it ends by hand only
	Communities  []string       // to add to what is announced: AS:VALUE (RFC 1997), each half from 0 to 65535
}

// Any reports whether there is something to do otherwise.
func (c Change) Any() bool {
	return c.Veto || c.Drop != nil || c.Notify != nil || c.Rung != 0 || c.BanTime != nil || len(c.Communities) > 0
}

// Stats is what a script has done since it was loaded.
type Stats struct {
	Calls       uint64 // of hooks
	Vetoes      uint64
	Changes     uint64 // responses that were changed without a veto
	Errors      uint64 // calls that failed, or whose answer was none: Weir's own decision stayed
	Stopped     uint64 // calls that took too much time or text: the same
	LastError   string // with file and line; empty: none
	LastErrorAt time.Time
	LastPrint   string // what the script has printed last
	SwitchedOff bool   // it is not called any more until it is loaded again
	Why         string // it was switched off
}

// New loads a script. The error names the file and, where the script is at fault, the line.
func New(o Options, log *slog.Logger) (*Script, error) {
	o.complete()
	code, err := sandbox.Compile(o.Path, sandbox.Options{
		What: "a hook", Memory: o.Memory, Text: o.Memory, Prompt: true,
		NewSet:     func() sandbox.Set { return new(bart.Lite) },
		SetMethods: map[string]lua.LGFunction{"has_target": hasTarget},
	})
	if err != nil {
		return nil, fmt.Errorf("load hooks: %w", err)
	}
	s := &Script{o: o, log: log.With("component", "hooks", "script", o.Path)}
	s.state = code.New(s.printed)
	if err := s.state.Start(o.LoadTimeout); err != nil {
		return nil, fmt.Errorf("load hooks: %w", err)
	}
	if err := s.findHooks(); err != nil {
		return nil, fmt.Errorf("load hooks: %s: %w", o.Path, err)
	}
	s.shapes = newShapes(s.state.Lua())
	return s, nil
}

// hook is a decision that a script may have a say in.
type hook uint8

const (
	onThreshold hook = iota
	onAttack
	onMitigate
	hookCount
)

// String is the name of the hook's function.
func (h hook) String() string {
	return [...]string{"on_threshold", "on_attack", "on_mitigate"}[min(h, hookCount-1)]
}

// findHooks looks for the functions that the script has defined.
func (s *Script) findHooks() error {
	found := false
	for h := range hookCount {
		v := s.state.Global(h.String())
		if v == lua.LNil {
			continue
		}
		fn, ok := v.(*lua.LFunction)
		if !ok {
			return fmt.Errorf("%s is a %s; expected a function", h, v.Type())
		}
		s.hooks[h], found = fn, true
	}
	if !found {
		return errors.New("it defines none of on_threshold(event), on_attack(attack) and on_mitigate(attack, response)")
	}
	return nil
}

// Threshold asks about a threshold that was crossed: a veto says that it is none.
func (s *Script) Threshold(e *traffic.Event) Verdict {
	if !s.listens(onThreshold) {
		return Verdict{}
	}
	return s.verdict(onThreshold, s.shapes.event(s.state.Lua(), e))
}

// Attack asks about an attack that was detected and is about to be decided about: after a veto nothing is to be done about it.
func (s *Script) Attack(a *traffic.Attack) Verdict {
	if !s.listens(onAttack) {
		return Verdict{}
	}
	return s.verdict(onAttack, s.shapes.attack(s.state.Lua(), a))
}

func (s *Script) verdict(h hook, argument lua.LValue) Verdict {
	answer, ok := s.call(h, argument)
	if !ok {
		return Verdict{}
	}
	c, err := s.read(h, answer, nil)
	if err != nil {
		s.wrong(h, err)
		return Verdict{}
	}
	s.count(&c)
	return Verdict{Veto: c.Veto, Why: c.Why}
}

// Mitigate asks about what is about to be put in force: it may be vetoed or changed.
func (s *Script) Mitigate(r *traffic.Record) Change {
	if !s.listens(onMitigate) {
		return Change{}
	}
	l := s.state.Lua()
	answer, ok := s.call(onMitigate, s.shapes.attack(l, &r.Attack), s.shapes.response(l, &r.Ban))
	if !ok {
		return Change{}
	}
	c, err := s.read(onMitigate, answer, r.Ban.Response)
	if err != nil {
		s.wrong(onMitigate, err)
		return Change{}
	}
	s.count(&c)
	return c
}

func (s *Script) listens(h hook) bool { return s.hooks[h] != nil && !s.off }

// call calls a hook. It returns false when there is no answer, which is told already.
func (s *Script) call(h hook, arguments ...lua.LValue) (lua.LValue, bool) {
	s.mu.Lock()
	s.stats.Calls++
	s.mu.Unlock()
	s.state.Begin(s.o.Timeout)
	l := s.state.Lua()
	l.Push(s.hooks[h])
	for _, a := range arguments {
		l.Push(a)
	}
	err := s.state.Call(len(arguments), 1)
	if s.state.Heavy() {
		defer s.switchOff(fmt.Sprintf("%s: its variables hold more than %d bytes; what it remembers must be bounded", s.o.Path, s.o.Memory))
	}
	if err != nil {
		s.failed(err)
		return nil, false
	}
	s.runaways = 0
	answer := l.Get(-1)
	l.Pop(1)
	return answer, true
}

// failed tells an error, and ends the use of a script that runs away again and again.
func (s *Script) failed(err error) {
	text := s.state.Message(err)
	if !s.state.RanAway() {
		s.tell(text, &s.stats.Errors)
		return
	}
	s.tell(text, &s.stats.Stopped)
	if s.runaways++; s.runaways >= s.o.MaxRunaways {
		s.switchOff(fmt.Sprintf("%d calls in a row were stopped; the last at %s", s.runaways, clean(text)))
	}
}

// wrong tells that a hook's answer is none. The line is that of the hook.
func (s *Script) wrong(h hook, err error) {
	line := 0
	if p := s.hooks[h].Proto; p != nil {
		line = p.LineDefined
	}
	s.tell(fmt.Sprintf("%s:%d: %s: %v", s.o.Path, line, h, err), &s.stats.Errors)
}

func (s *Script) count(c *Change) {
	if !c.Any() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Veto {
		s.stats.Vetoes++
	} else {
		s.stats.Changes++
	}
}

// tellEvery is how often errors are logged at most; all are counted.
const tellEvery = 10 * time.Second

func (s *Script) tell(text string, counter *uint64) {
	text = clean(text)
	now := time.Now()
	s.mu.Lock()
	*counter++
	s.stats.LastError, s.stats.LastErrorAt = text, now
	s.mu.Unlock()
	if s.told.IsZero() || now.Sub(s.told) >= tellEvery {
		s.told = now
		s.log.Warn("a hook failed: Weir's own decision stands", "error", text)
	}
}

// switchOff ends the use of the script; the first reason stays.
func (s *Script) switchOff(why string) {
	if s.off {
		return
	}
	s.off = true
	s.mu.Lock()
	s.stats.SwitchedOff, s.stats.Why = true, why
	s.mu.Unlock()
	s.log.Error("the hooks are switched off: mend the script and reload", "error", why)
}

// printed keeps what the script prints for Stats.
func (s *Script) printed(text string) {
	text = clean(text)
	s.mu.Lock()
	s.stats.LastPrint = text
	s.mu.Unlock()
	s.log.Debug("a hook printed", "text", text)
}

// Stats may be called at any time.
func (s *Script) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// clean makes text of a script fit for logs and messages: valid, short, and in one line.
func clean(text string) string {
	text = sandbox.Shorten(text)
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
