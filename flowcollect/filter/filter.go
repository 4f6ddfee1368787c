// Package filter decides about each flow record before it counts: by a Lua script, and by compiled rules.
package filter

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"
	lua "github.com/yuin/gopher-lua"

	"weir/userspace/sandbox"
	"weir/userspace/traffic"
)

// What a script may use unless Options say otherwise.
const (
	DefaultTimeout     = 5 * time.Millisecond
	DefaultMemory      = 32 << 20
	DefaultLoadTimeout = 5 * time.Second
	DefaultMaxRunaways = 100
)

// Options bound what a script may use. The zero Options are the defaults.
type Options struct {
	Timeout     time.Duration // of one call; 0: DefaultTimeout
	LoadTimeout time.Duration // of the script's own statements, which define the hooks; 0: DefaultLoadTimeout
	Memory      int           // bytes that the script's values may take in each worker, by estimate; 0: DefaultMemory
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

// Script is a compiled Lua filter. It may be used by several goroutines; each record is decided about by an Instance.
// docs/FILTERS.md describes the language.
type Script struct {
	path  string
	opts  Options
	code  *sandbox.Script
	small []lua.LValue // the numbers from 0 on, made once

	mu        sync.Mutex
	instances []*Instance

	off      atomic.Pointer[string] // why it is switched off; nil: it is not
	runaways atomic.Int64           // in a row
	trouble  atomic.Pointer[trouble]
	printed  atomic.Pointer[string]
}

// trouble is the last thing that went wrong.
type trouble struct {
	text string
	at   time.Time
}

// Load compiles the script of a file, and runs it once to see that it defines a hook. The error names the file and, where the script
// is at fault, the line.
func Load(path string) (*Script, error) { return LoadWith(path, Options{}) }

// LoadWith is Load with other bounds.
func LoadWith(path string, o Options) (*Script, error) {
	o.complete()
	s := &Script{path: path, opts: o, small: smallNumbers()}
	var err error
	if s.code, err = sandbox.Compile(path, o.sandbox()); err != nil {
		return nil, fmt.Errorf("load flow filter: %w", err)
	}
	if err := newInstance(s).start(); err != nil {
		return nil, fmt.Errorf("load flow filter: %w", err)
	}
	return s, nil
}

// sandbox is what the sandbox is to know.
func (o *Options) sandbox() sandbox.Options {
	return sandbox.Options{
		What: "a filter", Memory: o.Memory,
		NewSet: func() sandbox.Set { return new(bart.Lite) },
		SetMethods: map[string]lua.LGFunction{
			"has_src": func(l *lua.LState) int { return hasField(l, fieldSrc) },
			"has_dst": func(l *lua.LState) int { return hasField(l, fieldDst) },
		},
		Table: func(v lua.LValue) *lua.LTable {
			if r := recordOf(v); r != nil && r.flow != nil {
				return r.showAll()
			}
			return nil
		},
	}
}

// New makes an instance for one goroutine. It has the script's variables for itself. If the script's own statements fail this time,
// the instance keeps every record, and Stats say why.
func (s *Script) New() *Instance {
	i := newInstance(s)
	if err := i.start(); err != nil {
		i.keeps = true
		i.fail(err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances = append(s.instances, i)
	return i
}

// Stats is what a script's instances have done together.
type Stats struct {
	Calls, Dropped, Rescaled uint64 // records that were shown to the script; that it has dropped; whose rate it has changed
	Errors                   uint64 // calls that ended in an error; their records were kept
	Runaways                 uint64 // calls that were stopped; their records were kept
	LastError                string // with file and line; empty: none
	LastErrorAt              time.Time
	LastPrint                string // what the script has printed last
	SwitchedOff              bool   // every record is kept until the script is loaded again
	Why                      string // it was switched off
}

// Stats may be called at any time.
func (s *Script) Stats() Stats {
	var t Stats
	s.mu.Lock()
	for _, i := range s.instances {
		t.Calls += i.calls.Load()
		t.Dropped += i.dropped.Load()
		t.Rescaled += i.rescaled.Load()
		t.Errors += i.errors.Load()
		t.Runaways += i.stopped.Load()
	}
	s.mu.Unlock()
	if e := s.trouble.Load(); e != nil {
		t.LastError, t.LastErrorAt = e.text, e.at
	}
	if p := s.printed.Load(); p != nil {
		t.LastPrint = *p
	}
	if why := s.off.Load(); why != nil {
		t.SwitchedOff, t.Why = true, *why
	}
	return t
}

// switchOff ends the use of the script; the first reason stays.
func (s *Script) switchOff(why string) { s.off.CompareAndSwap(nil, &why) }

// smallNumbers are numbers that fields often have, as Lua's values.
func smallNumbers() []lua.LValue {
	list := make([]lua.LValue, 2048)
	for i := range list {
		list[i] = lua.LNumber(i)
	}
	return list
}

// hook is a function of the script that is called for a record.
type hook struct {
	fn    *lua.LFunction // nil: there is none
	agent bool           // it is called as FastNetMon does, with the exporter's address before the record
}

// findHooks looks for the functions that the script has defined: for NetFlow and IPFIX, and for sFlow.
func findHooks(state *sandbox.State) (hooks [2]hook, err error) {
	names := [2][2]string{{"netflow", "process_netflow"}, {"sflow", "process_sflow"}}
	for kind := range names {
		for j, name := range names[kind] {
			v := state.Global(name)
			if v == lua.LNil {
				continue
			}
			fn, ok := v.(*lua.LFunction)
			switch {
			case !ok:
				return hooks, fmt.Errorf("%s is a %s; expected a function", name, v.Type())
			case hooks[kind].fn != nil:
				return hooks, fmt.Errorf("both %s and %s are defined; leave one", names[kind][0], name)
			}
			hooks[kind] = hook{fn, j == 1}
		}
	}
	if hooks[0].fn == nil && hooks[1].fn == nil {
		return hooks, errors.New("it defines neither netflow(flow) nor sflow(flow), nor FastNetMon's process_netflow and process_sflow")
	}
	return hooks, nil
}

// hookOf is the index of the hook for a source.
func hookOf(s traffic.FlowSource) int {
	if s.SFlow() {
		return 1
	}
	return 0
}
