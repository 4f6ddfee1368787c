package filter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"

	"weir/userspace/sandbox"
	"weir/userspace/traffic"
)

// Instance decides about records by a script of its own. One goroutine uses it.
type Instance struct {
	script  *Script
	state   *sandbox.State
	keeps   bool // everything: its statements have failed
	record  *record
	hooks   [2]hook
	random  *rand.Rand
	agent   netip.Addr // whose text is agentIs
	agentIs lua.LValue

	calls, dropped, rescaled, errors, stopped atomic.Uint64 // written by one goroutine
}

func newInstance(s *Script) *Instance {
	i := &Instance{script: s, random: rand.New(rand.NewPCG(1, 2))}
	i.state = s.code.New(func(text string) { s.printed.Store(&text) })
	i.record = newRecord(i.state.Lua(), s.code.Names(), s.small)
	return i
}

// start runs the script's own statements, which define its hooks.
func (i *Instance) start() error {
	if err := i.state.Start(i.script.opts.LoadTimeout); err != nil {
		return err
	}
	var err error
	if i.hooks, err = findHooks(i.state); err != nil {
		return fmt.Errorf("%s: %w", i.script.path, err)
	}
	return nil
}

// Keep reports whether a record is to count, and may change its rate, packets and bytes. It keeps the record when the script fails.
func (i *Instance) Keep(f *traffic.Flow) bool {
	h := &i.hooks[hookOf(f.Source)]
	if h.fn == nil || i.keeps || i.script.off.Load() != nil {
		return true
	}
	add(&i.calls)
	l := i.state.Lua()
	i.state.Begin(i.script.opts.Timeout)
	i.record.set(f)
	l.Push(h.fn)
	arguments := 1
	if h.agent {
		l.Push(i.agentOf(f.Exporter))
		arguments = 2
	}
	l.Push(i.record.object)
	err := i.state.Call(arguments, 1)
	i.record.flow = nil
	if i.state.Heavy() {
		i.tooHeavy()
	}
	if err != nil {
		i.failed(err)
		return true
	}
	if i.script.runaways.Load() != 0 {
		i.script.runaways.Store(0)
	}
	answer := l.Get(-1)
	l.Pop(1)
	return i.judge(f, answer)
}

// agentOf is an exporter's address as the script gets it. Many records of one come in a row.
func (i *Instance) agentOf(a netip.Addr) lua.LValue {
	if a != i.agent || i.agentIs == nil {
		i.agent, i.agentIs = a, addressValue(a)
	}
	return i.agentIs
}

// add counts: there is only one writer.
func add(n *atomic.Uint64) { n.Store(n.Load() + 1) }

// judge does what the script has answered.
func (i *Instance) judge(f *traffic.Flow, answer lua.LValue) bool {
	switch v := answer.(type) {
	case *lua.LNilType:
		return true
	case lua.LBool:
		if !v {
			add(&i.dropped)
		}
		return bool(v)
	case lua.LNumber:
		if err := i.rescale(f, float64(v)); err != nil {
			i.fail(fmt.Sprintf("%s: %v", i.script.path, err))
			return true
		}
		if f.Packets == 0 {
			add(&i.dropped)
			return false
		}
		return true
	}
	i.fail(fmt.Sprintf("%s: the answer is a %s; expected nothing or true to keep the record, false to drop it, or a number to multiply its rate by",
		i.script.path, answer.Type()))
	return true
}

// rescale multiplies what a record stands for. Its rate takes what a whole number can; its packets and bytes take the rest, rounded by
// chance, so that the sum over many records is right: half of one packet is one packet in every other record.
func (i *Instance) rescale(f *traffic.Flow, by float64) error {
	rate := float64(f.Rate) * by
	switch {
	case by == 1:
		return nil
	case !(by >= 0): // also when it is not a number
		return fmt.Errorf("a rate cannot be multiplied by %v; expected a number from 0 on", by)
	case rate > math.MaxUint32:
		return fmt.Errorf("rate %d multiplied by %v is more than %d", f.Rate, by, uint32(math.MaxUint32))
	case by == 0:
		f.Packets = 0
		return nil
	}
	add(&i.rescaled)
	whole := max(1, math.Round(rate))
	f.Rate = uint32(whole)
	rest := rate / whole
	if rest == 1 || f.Packets == 0 {
		return nil
	}
	before := float64(f.Packets)
	packets := math.Floor(before*rest + i.random.Float64())
	f.Packets = uint64(packets)
	f.Bytes = uint64(math.Round(float64(f.Bytes) * (packets / before)))
	return nil
}

// failed tells an error, and ends the use of a script that runs away again and again.
func (i *Instance) failed(err error) {
	if !i.state.RanAway() {
		i.fail(i.state.Message(err))
		return
	}
	add(&i.stopped)
	i.tell(i.state.Message(err))
	if n := i.script.runaways.Add(1); n >= int64(i.script.opts.MaxRunaways) {
		i.script.switchOff(fmt.Sprintf("%d calls in a row took longer than %s each and were stopped; the last at %s",
			n, i.script.opts.Timeout, i.state.Message(err)))
	}
}

func (i *Instance) fail(text string) {
	add(&i.errors)
	i.tell(text)
}

func (i *Instance) tell(text string) { i.script.trouble.Store(&trouble{text, time.Now()}) }

// tooHeavy ends the use of a script that holds too much.
func (i *Instance) tooHeavy() {
	why := fmt.Sprintf("%s: its variables hold more than %d MiB; what it remembers of records must be bounded", i.script.path, i.script.opts.Memory>>20)
	i.tell(why)
	i.script.switchOff(why)
}
