package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Escape sequences of ECMA-48, for terminals only.
const (
	clearLine = "\r\x1b[K"
	bold      = "\x1b[1m"
	red       = "\x1b[1;31m"
	green     = "\x1b[1;32m"
	plain     = "\x1b[0m"
)

// lineInterval is how often measurements are told where a line cannot be drawn again.
const lineInterval = time.Second

// measurement is what is seen at one moment.
type measurement struct {
	Event           string  `json:"event"` // "traffic"
	Seconds         float64 `json:"seconds"`
	IncomingPPS     float64 `json:"incoming_pps"` // to the attacked address
	DroppedPPS      float64 `json:"dropped_pps"`
	Leaked          uint64  `json:"leaked_packets"` // attack packets that have reached the victim
	VictimOK        uint64  `json:"victim_ok"`      // requests answered since the beginning
	VictimFailed    uint64  `json:"victim_failed"`
	NeighbourOK     uint64  `json:"neighbour_ok"`
	NeighbourFailed uint64  `json:"neighbour_failed"`
}

// message is anything else that happens.
type message struct {
	Event   string  `json:"event"`
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`
}

// teller tells the story as it happens, by the clock of whoever plays it.
type teller struct {
	opts Options
	now  func() time.Time

	mu       sync.Mutex
	began    time.Time
	lastLine time.Time
	drawn    bool // the last line is a measurement that may be drawn over
	failed   error
}

func newTeller(opts Options) *teller {
	return &teller{opts: opts, now: time.Now, began: time.Now()}
}

// follow makes the story's time that of the given clock, from now on.
func (t *teller) follow(now func() time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now, t.began, t.lastLine = now, now(), time.Time{}
}

func (t *teller) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// say tells of one event.
func (t *teller) say(event, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seconds := t.now().Sub(t.began).Seconds()
	text := fmt.Sprintf(format, args...)
	if t.opts.JSON {
		t.encode(message{event, seconds, text})
		return
	}
	t.line("%s%6.2f s  %s%s", t.colour(event), seconds, text, t.colour(""))
}

func (t *teller) colour(event string) string {
	if !t.opts.Terminal {
		return ""
	}
	switch event {
	case "":
		return plain
	case "attack", "detected":
		return red
	case "dropped", "announced", "released", "withdrawn":
		return green
	}
	return bold
}

// measured tells of the traffic: always in JSON and on a terminal, else once a second.
func (t *teller) measured(m measurement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	m.Event, m.Seconds = "traffic", now.Sub(t.began).Seconds()
	if t.opts.JSON {
		t.encode(m)
		return
	}
	text := fmt.Sprintf("%6.2f s  to the victim %s, dropped %s, leaked %d | served: victim %d (%d lost), neighbour %d (%d lost)",
		m.Seconds, rate(m.IncomingPPS), rate(m.DroppedPPS), m.Leaked, m.VictimOK, m.VictimFailed, m.NeighbourOK, m.NeighbourFailed)
	switch {
	case t.opts.Terminal:
		t.write("%s%s", clearLine, text)
		t.drawn = true
	case now.Sub(t.lastLine) >= lineInterval:
		t.lastLine = now
		t.line("%s", text)
	}
}

func (t *teller) summary(s Summary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.opts.JSON {
		t.encode(s)
		return
	}
	verdict, colour := "passed", "released"
	if !s.Passed {
		verdict, colour = "NOT passed", "detected"
	}
	served := "the victim's network was served all along, and the victim again after it"
	if !s.VictimOK {
		served = "the victim's network was not served as it should have been"
	}
	announced := ""
	switch {
	case s.BGPMS == nil:
	case *s.BGPMS < 0:
		announced = ", never announced to the router"
	default:
		announced = fmt.Sprintf(", in the router's table %s after detection", milliseconds(*s.BGPMS))
	}
	t.line("")
	t.line("%sDemo %s.%s Flood of %s; %s, %s%s; %d packets leaked; %s.",
		t.colour(colour), verdict, t.colour(""), rate(s.AttackPPS), after("detected", s.DetectedMS), after("dropped", s.DroppedMS), announced, s.LeakedPackets, served)
}

func after(what string, ms float64) string {
	if ms < 0 {
		return "never " + what
	}
	return what + " after " + milliseconds(ms)
}

func milliseconds(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

func rate(pps float64) string {
	switch {
	case pps >= 1e6:
		return fmt.Sprintf("%.2f Mpps", pps/1e6)
	case pps >= 1e4:
		return fmt.Sprintf("%.0f kpps", pps/1e3)
	}
	return fmt.Sprintf("%.0f pps", pps)
}

func (t *teller) encode(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		t.failed = fmt.Errorf("encode event: %w", err)
		return
	}
	t.write("%s\n", line)
}

func (t *teller) line(format string, args ...any) {
	if t.drawn {
		t.drawn = false
		t.write("\n")
	}
	t.write(format+"\n", args...)
}

func (t *teller) write(format string, args ...any) {
	if t.failed != nil {
		return
	}
	if _, err := io.WriteString(t.opts.Out, fmt.Sprintf(format, args...)); err != nil {
		t.failed = fmt.Errorf("write output: %w", err)
	}
}
