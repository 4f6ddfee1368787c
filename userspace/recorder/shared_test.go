package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"

	"weir/userspace/traffic"
)

func attackOf(i int, t traffic.Target) traffic.Record {
	began := at.Add(time.Duration(i) * time.Second)
	return traffic.Record{Attack: traffic.Attack{
		ID: fmt.Sprintf("20260301T1200%02d.123-%04d", i%60, i), Target: t, Phase: traffic.PhaseActive, Started: began, Detected: began.Add(500 * time.Millisecond), Hosts: 1,
		Trip: traffic.Trip{Metric: traffic.PPS, Count: 5200, Window: time.Second, Value: 52000, Limit: 20000},
		Rate: traffic.TwoWay{Incoming: traffic.Counts{Total: traffic.Count{Packets: 52000, Bytes: 50_000_000}, Flows: 7}},
	}}
}

func over(r traffic.Record, ended time.Time) traffic.Record {
	r.Attack.Phase, r.Attack.Ended = traffic.PhaseOver, ended
	return r
}

func analyzed(r traffic.Record) traffic.Record {
	rule := traffic.MeasuredRule{Rule: "drop udp from port 53", Text: "drops 99.1 % of the attack, 0.04 % of normal"}
	r.Attack.Analysis = &traffic.Analysis{At: at, Samples: 2000, Class: "dns_amplification", Confidence: 0.97, Rules: traffic.RuleSet{Rules: []traffic.MeasuredRule{rule}, Coverage: 0.991}}
	return r
}

// bed is a Keeper and what it says.
type bed struct {
	t      *testing.T
	keeper *Keeper
	ring   *Ring
	log    *bytes.Buffer
	folder string
	now    time.Time
}

func newBed(t *testing.T, o Options) *bed {
	t.Helper()
	b := &bed{t: t, ring: NewRing(0), log: &bytes.Buffer{}, folder: o.Folder, now: at}
	if b.folder == "" {
		b.folder = filepath.Join(t.TempDir(), "attacks")
	}
	o.Folder = b.folder
	var err error
	if b.keeper, err = New(o, b.ring, slog.New(slog.NewTextHandler(b.log, nil))); err != nil {
		t.Fatal(err)
	}
	return b
}

// add adds samples to the victim, numbered from first up to, not including, end: one each millisecond from at on.
func (b *bed) add(first, end int) {
	for i := first; i < end; i++ {
		b.ring.Add(numbered(i), traffic.LinkEthernet, victim, peer)
	}
}

func (b *bed) put(r traffic.Record) {
	b.t.Helper()
	if !b.keeper.Put(r) {
		b.t.Fatalf("attack %q was not taken", r.Attack.ID)
	}
}

func (b *bed) tick() {
	b.now = b.now.Add(tickPeriod)
	b.keeper.tick(b.now)
}

func (b *bed) record(id string) record {
	b.t.Helper()
	content, err := ReadRecord(b.folder, id)
	var r record
	if err == nil {
		err = json.Unmarshal(content, &r)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// seen is what a reader finds in a capture.
type seen struct {
	numbers  []int
	infos    []gopacket.CaptureInfo
	comments map[int]string // by a frame's place
	sections []string
	names    []string
	links    []int
	received uint64
	dropped  uint64
}

func (b *bed) open(id string) seen {
	b.t.Helper()
	f, err := Open(b.folder, id)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		b.t.Fatal(err)
	}
	return read(b.t, content)
}

func read(t *testing.T, content []byte) seen {
	t.Helper()
	out := seen{comments: map[int]string{}}
	r, err := pcapgo.NewNgReader(bytes.NewReader(content), pcapgo.NgReaderOptions{
		WantMixedLinkType:  true,
		SectionEndCallback: func(interfaces []pcapgo.NgInterface, s pcapgo.NgSectionInfo) { out.section(interfaces, s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d frames: %v", len(out.infos), err)
		}
		for _, c := range options.Comments {
			out.comments[len(out.infos)] = c
		}
		out.infos = append(out.infos, info)
		if len(data) >= 8 {
			out.numbers = append(out.numbers, number(&Frame{Sample: traffic.Sample{Data: data}}))
		}
	}
	var last []pcapgo.NgInterface
	for i := range r.NInterfaces() {
		one, err := r.Interface(i)
		if err != nil {
			t.Fatal(err)
		}
		last = append(last, one)
	}
	out.section(last, r.SectionInfo())
	return out
}

func (s *seen) section(interfaces []pcapgo.NgInterface, info pcapgo.NgSectionInfo) {
	s.sections = append(s.sections, info.Comment)
	for _, i := range interfaces {
		s.names, s.links = append(s.names, i.Name), append(s.links, int(i.LinkType))
		if i.Statistics.PacketsReceived != pcapgo.NgNoValue64 {
			s.received += i.Statistics.PacketsReceived
			s.dropped += i.Statistics.PacketsDropped
		}
	}
}

// span is the numbers from first up to, not including, end.
func span(first, end int) []int {
	var out []int
	for i := first; i < end; i++ {
		out = append(out, i)
	}
	return out
}
