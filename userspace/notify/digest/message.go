package digest

import (
	"fmt"
	"time"

	"weir/userspace/traffic"
)

// Event is why a message is sent.
type Event uint8

// The events, in the order in which they happen.
const (
	Started Event = iota // an attack, or many at once
	Changed              // the response has changed, or more attacks have joined
	Ended                // all of it is over
	EventCount
)

var eventNames = [EventCount]string{"started", "changed", "ended"}

// String returns the event's name as templates and receivers see it.
func (e Event) String() string {
	if e < EventCount {
		return eventNames[e]
	}
	return fmt.Sprintf("event(%d)", uint8(e))
}

// Message is what people are told at once: of one attack, or of many that came together. Templates are executed over it.
type Message struct {
	Event    Event
	Key      string    // the same in all messages about one attack or group of attacks
	Closes   []string  // keys of what is over with this message, Key among them; longer than one where ends are told together
	At       time.Time // of what is told
	Attacks  []Attack  // the strongest first, at most MaxListed of them
	Count    int       // attacks in all
	Ongoing  int       // of Count
	Hosts    int       // distinct targets, or hosts within attacked prefixes
	Networks []string  // prefixes that hold the targets: at most MaxListed
	Started  time.Time // of the first
	Duration time.Duration
	Peak     traffic.Counts // per second: of one attack its own, of many the highest sum seen
	Volume   traffic.Counts // counted in all attacks' direction since they began; Dropped is what was dropped of it
	Rates    []Sample       // how the rate went, oldest first, at most MaxSamples
	Omitted  int            // changes of attacks that were too many to follow one by one
}

// Attack is one attack as people read it. It holds no pointers, so that a template cannot fail for want of an analysis.
type Attack struct {
	ID        string
	Target    string // address, prefix or hostgroup
	Scope     string // host, prefix or hostgroup
	Direction string // incoming or outgoing
	Group     string // the hostgroup
	Hosts     int
	Started   time.Time
	Ended     time.Time // zero while it goes on
	Duration  time.Duration
	Rate      traffic.Counts // per second, in the attack's direction
	Peak      traffic.Counts
	Volume    traffic.Counts
	Trip      string // why it is an attack: the threshold and what was counted

	Class      string // empty: not known
	Confidence float64
	Origin     string // forged, reflectors, real, unclear; empty: not known
	Patterns   []string
	Evidence   []string
	Rules      []string // what stops it, with what that would cost
	Top        []traffic.SourceShare

	Response string    // what is done about it, in words
	Steps    []string  // how it came to that: the last steps on the hostgroup's ladder of responses
	Until    time.Time // the earliest end of it; zero: not known, or by hand only
	Capture  string    // file with its packets
}

// Sample is the rate at one time, per second.
type Sample struct {
	Time    time.Time
	Packets uint64
	Bytes   uint64
}

// Limits of what a message lists.
const (
	MaxListed  = 10
	MaxSamples = 240
)

// Strongest is the first attack of the message, an empty one if it lists none.
func (m Message) Strongest() Attack {
	if len(m.Attacks) == 0 {
		return Attack{}
	}
	return m.Attacks[0]
}
