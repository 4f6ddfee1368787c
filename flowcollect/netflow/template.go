package netflow

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"weir/userspace/traffic"
)

// variable is the length of a field that says itself how long it is (IPFIX).
const variable = 65535

// Bounds of templates: a record must fit a datagram.
const (
	recordMost     = 65535
	fieldsMost     = 4096
	fieldsTemplate = 16 // of an exporter, for each of the templates that it may have
)

// template says what the data sets of its number hold, compiled to what is done with each field.
type template struct {
	raw     []byte // its fields as they were announced
	count   int    // of fields
	scopes  int    // options templates: how many of them say what the others are about
	options bool
	fixed   int   // bytes of a record; 0: some fields are of variable length
	least   int   // bytes that a record has at least
	gaps    []int // bytes in front of each field of variable length, from the one before
	tail    int   // bytes behind the last of them
	steps   []step
	mixed   bool     // has IPv4 and IPv6 addresses, of which a record uses one kind
	totals  totalled // counters that are never reset, and that no others stand beside
	dull    bool     // options that Weir does not read
	was     uint64   // print of the template that was replaced by this one
	seen    time.Time
	used    time.Time
}

// step is what is done with one field that is read, or that is of variable length.
type step struct {
	op   op
	load load
	at   uint16 // where it begins: bytes from the end of the last field of variable length, or from the beginning of the record
	size uint16
}

// announcement is a template on the wire, in front of its fields.
type announcement struct {
	id            uint16
	count, scopes int
	options       bool
}

// rawLength is how many bytes the fields of an announcement take, or what is wrong with them.
func rawLength(b []byte, count int, enterprises bool) (length int, wrong string) {
	for range count {
		if len(b)-length < 4 {
			return 0, "a template that is cut off"
		}
		if enterprises && b[length]&0x80 != 0 {
			length += 4
		}
		length += 4
	}
	if length > len(b) {
		return 0, "a template that is cut off"
	}
	return length, ""
}

// field is one field of a template.
type field struct {
	element    uint16
	length     uint16
	enterprise uint32
}

// fieldsOf reads what rawLength has measured.
func fieldsOf(b []byte, count int, enterprises bool) []field {
	fields := make([]field, 0, count)
	for range count {
		f := field{element: binary.BigEndian.Uint16(b), length: binary.BigEndian.Uint16(b[2:])}
		b = b[4:]
		if enterprises && f.element&0x8000 != 0 {
			f.element &^= 0x8000
			f.enterprise = binary.BigEndian.Uint32(b)
			b = b[4:]
		}
		fields = append(fields, f)
	}
	return fields
}

// is reports whether a template is what an announcement says.
func (t *template) is(a *announcement, raw []byte) bool {
	return t.options == a.options && t.scopes == a.scopes && t.count == a.count && bytes.Equal(t.raw, raw)
}

// print tells templates apart.
func (t *template) print() uint64 {
	h := fnv.New64a()
	// Never fails.
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(t.scopes)))
	_, _ = h.Write(t.raw)
	return h.Sum64()
}

// compile makes a template of an announcement; nil when no record could be told by it: it has no fields, or none with a length, or its
// records do not fit a datagram.
func compile(a *announcement, raw []byte, source traffic.FlowSource) *template {
	if a.count == 0 || a.count > fieldsMost || a.scopes > a.count {
		return nil
	}
	ipfix := source == traffic.IPFIX
	t := &template{raw: bytes.Clone(raw), count: a.count, scopes: a.scopes, options: a.options}
	fields := fieldsOf(raw, a.count, ipfix)
	fixed, some := true, false
	for _, f := range fields {
		if f.length == variable && ipfix {
			fixed = false
			t.least++
		} else {
			t.least += int(f.length)
		}
		some = some || f.length > 0
	}
	if !some || t.least > recordMost {
		return nil
	}
	if fixed {
		t.fixed = t.least
	}
	t.choose(fields, ipfix)
	return t
}

// choose finds out what is done with each field.
func (t *template) choose(fields []field, ipfix bool) {
	has := func(element uint16) bool {
		return slices.ContainsFunc(fields[t.scopes:], func(f field) bool { return f.element == element && f.enterprise == 0 && f.length > 0 })
	}
	t.mixed = (has(ieSource4) || has(ieDestination4)) && (has(ieSource6) || has(ieDestination6))
	back := func(element uint16) bool {
		return ipfix && slices.ContainsFunc(fields[t.scopes:], func(f field) bool { return f.element == element && f.enterprise == reverse && f.length > 0 })
	}
	t.totals = totalled{
		octets:      has(ieOctetsTotal) && !has(ieOctets) && !has(ieInitiatorOctets),
		packets:     has(iePacketsTotal) && !has(iePackets) && !has(ieInitiatorPackets),
		backOctets:  back(ieOctetsTotal) && !back(ieOctets) && !has(ieResponderOctets),
		backPackets: back(iePacketsTotal) && !back(iePackets) && !has(ieResponderPackets),
	}
	var worse []uint16
	for _, i := range instead {
		if has(i.better) {
			worse = append(worse, i.worse)
		}
	}
	at := 0
	t.dull = t.options
	for i, f := range fields {
		o := opSkip
		switch {
		case f.length == 0:
		case i < t.scopes:
			o = scope(f, ipfix)
		case f.enterprise == reverse && ipfix && (f.element == ieOctetsTotal && !t.totals.backOctets || f.element == iePacketsTotal && !t.totals.backPackets):
		case f.enterprise == reverse && ipfix:
			o = reversed[f.element]
		case f.enterprise == 0 && !slices.Contains(worse, f.element):
			o = t.both(elements[f.element])
		}
		if o != opSkip && i >= t.scopes {
			t.dull = false
		}
		if f.length == variable && ipfix {
			t.steps = append(t.steps, step{o, loadVariable, uint16(at), f.length})
			t.gaps = append(t.gaps, at)
			at = 0
			continue
		}
		if o != opSkip {
			t.steps = append(t.steps, step{o, loadOf(o, f.length), uint16(at), f.length})
		}
		at += int(f.length)
	}
	t.tail = at
}

// Scopes of v9 have numbers of their own (RFC 3954 section 6.1); those of IPFIX are elements.
const scopeInterface = 2

func scope(f field, ipfix bool) op {
	switch {
	case f.enterprise != 0:
		return opSkip
	case f.element == ieSamplerID, f.element == ieSelectorID:
		return opSampler
	case f.element == ieInput, f.element == scopeInterface && !ipfix:
		return opInput
	}
	return opSkip
}

// both exchanges the ops of addresses in templates that have both kinds.
func (t *template) both(o op) op {
	if !t.mixed {
		return o
	}
	switch o {
	case opSource4:
		return opBothSource4
	case opDestination4:
		return opBothDestination4
	case opSource6:
		return opBothSource6
	case opDestination6:
		return opBothDestination6
	case opSourceMask:
		return opMaskIfZero
	case opDestinationMask:
		return opDestinationMaskIfZero
	}
	return o
}

// records counts the records of a data set, or says what is wrong with it.
func (t *template) records(b []byte) (n int, wrong string) {
	if t.fixed > 0 {
		return len(b) / t.fixed, ""
	}
	for len(b) >= t.least {
		length := t.length(b)
		if length < 0 {
			if zero(b) { // padding
				return n, ""
			}
			return 0, "a record that is cut off"
		}
		b = b[length:]
		n++
	}
	return n, ""
}

// length is how many bytes the record at b takes, whose template has fields of variable length; -1 when it is cut off.
func (t *template) length(b []byte) int {
	at := 0
	for _, gap := range t.gaps {
		_, next := variableField(b, at+gap)
		if next < 0 {
			return -1
		}
		at = next
	}
	if at += t.tail; at > len(b) {
		return -1
	}
	return at
}

// variableField is what a field of variable length holds that begins at b[at], and where the next one begins (RFC 7011 section 7); -1
// when it is cut off.
func variableField(b []byte, at int) (content []byte, next int) {
	if at >= len(b) {
		return nil, -1
	}
	length := int(b[at])
	at++
	if length == 255 {
		if len(b)-at < 2 {
			return nil, -1
		}
		length = int(binary.BigEndian.Uint16(b[at:]))
		at += 2
	}
	if len(b)-at < length {
		return nil, -1
	}
	return b[at : at+length], at + length
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
