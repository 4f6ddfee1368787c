package influxdb

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"weir/userspace/traffic"
)

// attack writes one point of the measurement attacks. Its time is exact: of two changes in one second none takes the other's place.
func (b *batch) attack(c *traffic.Change) {
	a, ban := &c.Record.Attack, &c.Record.Ban
	target := &a.Target
	b.line("attacks")
	b.tag(tagDirection, target.Direction.String())
	if target.Scope != traffic.ScopeGroup {
		b.prefixTag(tagHost, target.Prefix, false)
	}
	b.tag(tagHostgroup, groupOf(c))
	b.tag(tagKind, c.Kind.String())
	b.tag(tagScope, target.Scope.String())

	rate := &a.Rate.Incoming
	if target.Direction == traffic.Outgoing {
		rate = &a.Rate.Outgoing
	}
	b.float("pps", float64(rate.Total.Packets))
	b.float("bits", float64(rate.Total.Bytes)*8)
	b.float("flows", float64(rate.Flows))
	b.float("peak", float64(a.Peak.Total.Packets))
	b.float("peak_bits", float64(a.Peak.Total.Bytes)*8)
	b.float("peak_flows", float64(a.Peak.Flows))
	b.float("packets", float64(a.Volume.Total.Packets))
	b.float("volume_bits", float64(a.Volume.Total.Bytes)*8)
	b.float("dropped", float64(a.Volume.Dropped.Packets))
	b.float("duration", lasted(c).Seconds())
	b.float("hosts", float64(a.Hosts))
	b.text("id", a.ID)
	b.text("phase", a.Phase.String())
	b.text("class", class(a))
	if ban.Active() {
		b.text("response", ban.Does())
	}
	b.text("reason", why(c))
	b.text("text", sentence(c))
	b.finish(c.At)
}

func groupOf(c *traffic.Change) string {
	if c.Group != "" {
		return c.Group
	}
	return c.Record.Attack.Target.Group
}

// lasted is for how long the attack has gone on at the time of the change.
func lasted(c *traffic.Change) time.Duration {
	a := &c.Record.Attack
	since, until := a.Started, a.Ended
	if since.IsZero() {
		since = a.Detected
	}
	if until.IsZero() {
		until = c.At
	}
	if since.IsZero() {
		return 0
	}
	return max(until.Sub(since), 0)
}

func class(a *traffic.Attack) string {
	if a.Analysis == nil {
		return ""
	}
	return a.Analysis.Class
}

// why is what led to the attack being one, in the operator's words where it was an operator.
func why(c *traffic.Change) string {
	if c.Record.Attack.Manual && c.Record.Ban.Reason != "" {
		return c.Record.Ban.Reason
	}
	return c.Record.Attack.Trip.String()
}

// sentence is what a panel shows beside its line: "attack on 192.0.2.7 (incoming) started: dns_amplification; pps: ...".
func sentence(c *traffic.Change) string {
	a := &c.Record.Attack
	where := "on"
	if a.Target.Direction == traffic.Outgoing {
		where = "from"
	}
	what := why(c)
	if name := class(a); name != "" {
		what = name + "; " + what
	}
	return fmt.Sprintf("attack %s %s (%s) %s: %s", where, a.Target, a.Target.Direction, c.Kind, what)
}

// mostText bounds a field of text, in bytes: a line of them must fit into a datagram of any network.
const mostText = 400

// text adds a field of text; empty ones are left out.
func (b *batch) text(key, value string) {
	value = plain(value, mostText)
	if value == "" {
		return
	}
	if v, ok := lineprotocol.StringValue(value); ok {
		b.encoder.AddField(key, v)
	}
}

// plain makes one line of text out of whatever it is given, of at most so many bytes.
func plain(text string, most int) string {
	if len(text) > 4*most {
		text = text[:4*most]
	}
	text = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "")), "")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}
