// Package sandbox runs Lua scripts of operators: they reach nothing outside, and are stopped when they take too much time or memory.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of files.
const (
	maxScriptBytes = 1 << 20
	maxFileBytes   = 4 << 20 // that a script reads while it is loaded
)

// MaxList is the longest list that # and ipairs see.
const MaxList = 1 << 16

// Options say what a script finds, and what it may use.
type Options struct {
	What   string // what the script is, in messages: "a filter"
	Memory int    // bytes that the script's values may take in each State, by estimate
	Text   int    // bytes of text that one call may make, garbage included; 0: what its time allows
	Prompt bool   // time runs from a call's first instruction on, and is looked at often: for callers that cannot wait

	NewSet     func() Set                     // for networks{...}; nil: there is no such function
	SetMethods map[string]lua.LGFunction      // further methods of what networks{...} makes; see CheckSet
	Table      func(v lua.LValue) *lua.LTable // what pairs goes through for a value that is no table; nil: nothing
}

// Script is a compiled script. Several goroutines may use it, each with States of its own.
type Script struct {
	path  string
	o     Options
	proto *lua.FunctionProto
	names []string

	mu    sync.Mutex
	files map[string]string // what it has read while it was loaded
}

// Compile reads a script and translates it. The error names the file and, where the script is at fault, the line.
func Compile(path string, o Options) (*Script, error) {
	boundArrays()
	text, err := readBounded(path, maxScriptBytes)
	if err != nil {
		return nil, err
	}
	s := &Script{path: path, o: o, files: map[string]string{}}
	if s.proto, s.names, err = compile(text, path); err != nil {
		return nil, err
	}
	return s, nil
}

// Path is the script's file.
func (s *Script) Path() string { return s.path }

// Names are the fields that the script's text mentions: what it writes behind a dot.
func (s *Script) Names() []string { return s.names }

// readBounded reads a file that is to have so many bytes at most.
func readBounded(path string, limit int64) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("read %s: it is not a regular file", path)
	case info.Size() > limit:
		return "", fmt.Errorf("read %s: it has %d bytes; expected at most %d", path, info.Size(), limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return string(data), nil
}

// file returns a file beside the script. It is read once, so that all States see the same.
func (s *Script) file(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := s.files[name]; ok {
		return text, nil
	}
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("read %q: %s reads files of its own folder only; put the file beside the script", name, s.o.What)
	}
	text, err := readBounded(filepath.Join(filepath.Dir(s.path), name), maxFileBytes)
	if err != nil {
		return "", err
	}
	s.files[name] = text
	return text, nil
}

// boundArrays keeps t[50000000] = 1 from filling a list of fifty million entries: a larger index is a key like any other.
var boundArrays = sync.OnceFunc(func() { lua.MaxArrayIndex = MaxList + 1 })

// State is a script with its variables. One goroutine uses it.
type State struct {
	script *Script
	lua    *lua.LState
	fuel   *fuel
	libs   *libraries
	weigh  int // instructions until the script's memory is looked at
}

// weighEvery is how many instructions a script runs between two looks at its memory, at the least.
const weighEvery = 1 << 18

// Bounds of the interpreter's stacks: calls in each other, and values.
const (
	maxCalls  = 200
	maxValues = 1 << 15
)

// New makes a State, whose statements have yet to run. print is told each line that the script prints; nil: nobody is.
func (s *Script) New(print func(string)) *State {
	l := lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxCalls, RegistrySize: 1024, RegistryGrowStep: 1024, RegistryMaxSize: maxValues,
	})
	x := &State{script: s, lua: l, fuel: newFuel(&s.o), weigh: weighEvery}
	x.libs = &libraries{script: s, fuel: x.fuel, print: print}
	l.SetContext(x.fuel)
	return x
}

// Start runs the script's own statements, which define its functions. The error names file and line.
func (x *State) Start(limit time.Duration) error {
	l := x.lua
	x.fuel.fill(limit)
	x.fuel.text = 0 // it may read large files
	defer func() { x.fuel.text = x.script.o.Text }()
	l.Push(l.NewFunction(func(l *lua.LState) int {
		x.libs.open(l)
		return 0
	}))
	err := l.PCall(0, 0, nil)
	if err == nil {
		x.libs.loading = true
		l.Push(l.NewFunctionFromProto(x.script.proto))
		err = l.PCall(0, 0, nil)
		x.libs.loading = false
	}
	if err != nil {
		return errors.New(x.Message(err))
	}
	if weigh(l, x.script.o.Memory) > x.script.o.Memory {
		return fmt.Errorf("%s: its values take more than %d bytes", x.script.path, x.script.o.Memory)
	}
	return nil
}

// Lua is the interpreter: for making values, and for pushing a function and its arguments before Call.
func (x *State) Lua() *lua.LState { return x.lua }

// Global is one of the script's global variables, nil if it is not set. No code of the script runs.
func (x *State) Global(name string) lua.LValue { return x.lua.G.Global.RawGetString(name) }

// Begin grants the time of the next call.
func (x *State) Begin(limit time.Duration) { x.fuel.fill(limit) }

// Call calls the function that was pushed after Begin, before so many arguments. Its results are on the stack unless it failed.
func (x *State) Call(arguments, results int) error {
	err := x.lua.PCall(arguments, results, nil)
	x.weigh -= x.fuel.burnt()
	return err
}

// RanAway reports whether the last call was stopped.
func (x *State) RanAway() bool { return x.fuel.out }

// Heavy reports whether the script's variables take more memory than they may. It looks now and then only, and after each call that was
// stopped.
func (x *State) Heavy() bool {
	if x.weigh >= 0 && !x.fuel.out {
		return false
	}
	limit := x.script.o.Memory
	bytes := weigh(x.lua, limit)
	x.weigh = max(weighEvery, bytes/4) // so that looking takes a small part of the time
	return bytes > limit
}

// Message is an error of the script, with file and line and without the interpreter's trace.
func (x *State) Message(err error) string {
	var e *lua.ApiError
	if !errors.As(err, &e) {
		return err.Error()
	}
	text := ""
	switch {
	case e.Object == nil || e.Object == lua.LNil:
		text = e.Error()
	case e.Object.Type() == lua.LTString:
		text = string(e.Object.(lua.LString))
	default:
		text = "error with a " + e.Object.Type().String()
	}
	if x.fuel.out {
		text += " (" + x.fuel.bound() + ")"
	}
	return Shorten(text)
}

// maxMessage is how much of a message is kept.
const maxMessage = 500

// Shorten cuts a message that is very long.
func Shorten(text string) string {
	if len(text) > maxMessage {
		return text[:maxMessage] + "..."
	}
	return text
}
