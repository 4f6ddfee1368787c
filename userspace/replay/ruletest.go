package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"weir/userspace/analyze"
	"weir/userspace/capture/pcapfile"
	"weir/userspace/traffic"
)

// RuleMatch is how much of a capture a rule matches. Bytes are those on the wire without FCS.
type RuleMatch struct {
	Rule         string  `json:"rule"`
	Packets      uint64  `json:"packets"`
	Bytes        uint64  `json:"bytes"`
	Matched      uint64  `json:"matched_packets"`
	MatchedBytes uint64  `json:"matched_bytes"`
	Share        float64 `json:"share"`    // of packets, 0 to 1
	Unparsed     uint64  `json:"unparsed"` // not IP, or broken before the addresses: no rule matches them
}

// TestRule holds a rule against every frame of a capture.
func TestRule(ctx context.Context, rule traffic.Rule, file string) (RuleMatch, error) {
	m := RuleMatch{Rule: rule.String()}
	capture, err := pcapfile.Open(file)
	if err != nil {
		return m, err
	}
	err = m.read(ctx, &rule, capture)
	if m.Packets > 0 {
		m.Share = float64(m.Matched) / float64(m.Packets)
	}
	return m, errors.Join(err, capture.Close())
}

func (m *RuleMatch) read(ctx context.Context, rule *traffic.Rule, capture *pcapfile.Reader) error {
	const often = 4096 // frames between two looks at ctx
	var f traffic.Frame
	for {
		if m.Packets%often == 0 && ctx.Err() != nil {
			return fmt.Errorf("test rule on %s: %w", capture.Name(), ctx.Err())
		}
		if err := capture.Next(&f); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		m.Packets++
		m.Bytes += uint64(f.Length)
		seen, ok := analyze.Look(f.Data, f.Link, f.Length, time.Unix(0, f.Time), 1)
		if !ok {
			m.Unparsed++
			continue
		}
		if facts := seen.Facts(); rule.Match(&facts) {
			m.Matched++
			m.MatchedBytes += uint64(f.Length)
		}
	}
}
