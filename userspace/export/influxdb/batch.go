package influxdb

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"weir/userspace/traffic"
)

// batch gathers lines and sends them when there are enough. The first error that may pass stays, and nothing is sent after it.
type batch struct {
	mostLines, mostBytes int
	tags                 []tag

	send    func(lines []byte) error // of the call that is under way
	encoder lineprotocol.Encoder
	count   int    // lines that are finished
	done    int    // bytes of them
	name    []byte // scratch for addresses
	refused error  // the first refusal for good
	times   int    // how many there were
	err     error
}

type tag struct{ key, value string }

func tagsOf(m map[string]string) []tag {
	var tags []tag
	for _, key := range slices.Sorted(maps.Keys(m)) {
		tags = append(tags, tag{key, clean(m[key])})
	}
	return tags
}

// clean makes a value that a tag may have: not empty, without control characters, without a backslash at its end.
func clean(value string) string {
	if printable(value) && value != "" && !strings.HasSuffix(value, `\`) {
		return value
	}
	value = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(value, "_"))
	if trimmed, cut := strings.CutSuffix(value, `\`); cut || value == "" {
		value = trimmed + "_"
	}
	return value
}

func (b *batch) begin(send func(lines []byte) error) {
	b.send, b.refused, b.times, b.err = send, nil, 0, nil
	b.encoder.SetBuffer(b.encoder.Bytes()[:0])
	// Names are constants here, or checked, and values are cleaned.
	b.encoder.SetLax(true)
	b.count, b.done = 0, 0
}

// line starts one.
func (b *batch) line(measurement string) {
	b.encoder.StartLine(measurement)
	for i := range b.tags {
		b.encoder.AddTag(b.tags[i].key, b.tags[i].value)
	}
}

func (b *batch) tag(key, value string) { b.encoder.AddTag(key, clean(value)) }

// prefixTag tags with an address, or with a prefix where it is more than one or whole is asked for.
func (b *batch) prefixTag(key string, p netip.Prefix, whole bool) {
	b.name = append(b.name[:0], key...)
	if whole || !p.IsSingleIP() {
		b.name = p.AppendTo(b.name)
	} else {
		b.name = p.Addr().AppendTo(b.name)
	}
	b.encoder.AddTagRaw(b.name[:len(key)], b.name[len(key):])
}

// float adds a field that is always there and finite: what is neither cannot be stored, and is left out.
func (b *batch) float(key string, value float64) {
	if v, ok := lineprotocol.FloatValue(value); ok {
		b.encoder.AddField(key, v)
	}
}

// finish ends the line, and sends those before it where this one would be too much.
func (b *batch) finish(at time.Time) {
	b.encoder.EndLine(at)
	if err := b.encoder.Err(); err != nil {
		b.encoder.ClearErr()
		b.refuse(fmt.Errorf("%w: %w", traffic.ErrPermanent, err))
		return
	}
	all := b.encoder.Bytes()
	if len(all) > b.mostBytes && b.count > 0 {
		b.transmit(all[:b.done])
		all = all[:copy(all, all[b.done:])]
		b.encoder.SetBuffer(all)
		b.count = 0
	}
	b.count++
	b.done = len(all)
	if b.count == b.mostLines {
		b.flush()
	}
}

func (b *batch) flush() {
	if b.count > 0 {
		b.transmit(b.encoder.Bytes())
	}
	b.encoder.SetBuffer(b.encoder.Bytes()[:0])
	b.count, b.done = 0, 0
}

func (b *batch) transmit(lines []byte) {
	if b.err != nil {
		return
	}
	err := b.send(lines)
	if errors.Is(err, traffic.ErrPermanent) {
		b.refuse(err)
		return
	}
	b.err = err
}

func (b *batch) refuse(err error) {
	b.times++
	if b.refused == nil {
		b.refused = err
	}
}

// end sends what is left and returns what went wrong. What may pass comes first: when all is sent again, what was refused is refused again.
func (b *batch) end() error {
	b.flush()
	switch {
	case b.err != nil:
		return b.err
	case b.times > 1:
		return fmt.Errorf("%d times; the first: %w", b.times, b.refused)
	}
	return b.refused
}
