package sandbox

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// list is the plainest Set.
type list []netip.Prefix

func (s *list) Insert(p netip.Prefix) { *s = append(*s, p) }

func (s *list) Contains(a netip.Addr) bool { return s.LookupPrefix(netip.PrefixFrom(a, a.BitLen())) }

func (s *list) LookupPrefix(p netip.Prefix) bool {
	for _, one := range *s {
		if one.Contains(p.Addr()) && one.Bits() <= p.Bits() {
			return true
		}
	}
	return false
}

// load compiles a script, which is the file "s.lua", and runs its statements.
func load(t testing.TB, text string, o Options, print func(string)) (*State, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.lua")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.Memory == 0 {
		o.Memory = 32 << 20
	}
	o.What = "a test"
	o.NewSet = func() Set { return new(list) }
	s, err := Compile(path, o)
	if err != nil {
		return nil, err
	}
	x := s.New(print)
	return x, x.Start(time.Minute)
}

func stateOf(t testing.TB, text string, o Options) *State {
	t.Helper()
	x, err := load(t, text, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// call calls the script's function f without arguments.
func call(x *State, limit time.Duration) error {
	x.Begin(limit)
	x.Lua().Push(x.Global("f"))
	if err := x.Call(0, 1); err != nil {
		return errors.New(filepath.Base(x.Message(err)))
	}
	x.Lua().Pop(1)
	return nil
}
