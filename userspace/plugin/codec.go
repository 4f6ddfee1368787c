package plugin

import (
	"bytes"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The codecs differ from connect's own in that they look how many records a message holds before any is decoded, for an empty record takes two
// bytes on the wire and a hundred times as many in memory; and in that broken messages are counted, which connect shows to nobody.

// binaryCodec is for protobuf's wire form.
type binaryCodec struct{ plugin *Plugin }

// Name is what connect knows the codec by.
func (c *binaryCodec) Name() string { return "proto" }

// Marshal writes a message.
func (c *binaryCodec) Marshal(m any) ([]byte, error) {
	message, err := messageOf(m)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(message)
}

// Unmarshal reads a message.
func (c *binaryCodec) Unmarshal(b []byte, m any) error {
	message, err := messageOf(m)
	if err != nil {
		return err
	}
	records := 0
	for rest := b; len(rest) > 0; records++ {
		_, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			break // which Unmarshal says better
		}
		rest = rest[n:]
	}
	if err := c.plugin.few(records); err != nil {
		return err
	}
	return c.plugin.broken(proto.Unmarshal(b, message))
}

// jsonCodec is for protobuf's JSON form.
type jsonCodec struct {
	plugin *Plugin
	name   string
}

// Name is what connect knows the codec by.
func (c *jsonCodec) Name() string { return c.name }

// Marshal writes a message.
func (c *jsonCodec) Marshal(m any) ([]byte, error) {
	message, err := messageOf(m)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(message)
}

// Unmarshal reads a message; nothing at all is an empty one. Fields that it does not know are left out, as in the wire form: the program may be
// newer than Weir.
func (c *jsonCodec) Unmarshal(b []byte, m any) error {
	message, err := messageOf(m)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	// Each record is an object of its own.
	if err := c.plugin.few(bytes.Count(b, []byte{'{'})); err != nil {
		return err
	}
	return c.plugin.broken(protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, message))
}

func messageOf(m any) (proto.Message, error) {
	message, ok := m.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a protobuf message", m)
	}
	return message, nil
}

// otherFields is more than a message has beside its records.
const otherFields = 32

// few refuses a message of many more records than any call may have. Those that are only a few too many are refused by the call itself.
func (p *Plugin) few(records int) error {
	most := max(p.options.Limits.Batch, p.options.Limits.Results) + otherFields
	if records <= most {
		return nil
	}
	err := fmt.Errorf("%d records in one call: expected at most %d", records, p.options.Limits.Batch)
	p.count(func(s *Stats) { s.Failed++; s.Flooded += uint64(records) })
	p.complain("call", err)
	return err
}

// broken counts a message that cannot be read.
func (p *Plugin) broken(err error) error {
	if err != nil {
		p.count(func(s *Stats) { s.Failed++ })
		p.complain("call", fmt.Errorf("read message: %w", err))
	}
	return err
}

// body is a request's body that counts itself when it is larger than a request may be. It is connect that refuses it.
type body struct {
	io.ReadCloser
	plugin *Plugin
	left   int64
}

// envelope is what streams have before a message (the gRPC protocol's Length-Prefixed-Message).
const envelope = 5

// Read reads on.
func (b *body) Read(to []byte) (int, error) {
	n, err := b.ReadCloser.Read(to)
	before := b.left
	b.left -= int64(n)
	if before >= -envelope && b.left < -envelope {
		b.plugin.count(func(s *Stats) { s.Failed++ })
		b.plugin.complain("call", fmt.Errorf("request of more than %d bytes", b.plugin.options.Limits.Message))
	}
	return n, err
}
