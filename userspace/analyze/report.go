package analyze

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"weir/userspace/traffic"
)

// Classes of packets, by what makes them an attack. The classes of protocols are made of their name: see Amplification and Requests.
const (
	SYNFlood           = "syn_flood"
	SYNACKReflection   = "syn_ack_reflection"
	ACKFlood           = "ack_flood"
	RSTFlood           = "rst_flood"
	FINFlood           = "fin_flood"
	OddFlagsFlood      = "odd_flags_flood" // no flags, FIN+PSH+URG, SYN+FIN and what else no stack sends
	AllFlagsFlood      = "all_flags_flood"
	ConnectionFlood    = "connection_flood" // connections that are really opened, more than a client needs
	UDPRandomFlood     = "udp_random_flood"
	UDPFixedFlood      = "udp_fixed_flood"
	UDPEmptyFlood      = "udp_empty_flood"
	UDPFlood           = "udp_flood" // none of these three
	ICMPFlood          = "icmp_flood"
	FragmentFlood      = "fragment_flood"
	GREFlood           = "gre_flood"
	ESPFlood           = "esp_flood"
	IPInIPFlood        = "ip_in_ip_flood"
	OtherProtocolFlood = "other_protocol_flood"
	MalformedFlood     = "malformed_flood" // headers that are broken or missing
)

// Names of a report that has no one class.
const (
	MultiVector  = "multi_vector"
	Unclassified = "unclassified" // nothing was sampled
)

// Patterns over all samples.
const (
	CarpetBombing = "carpet_bombing"
	Pulses        = "pulses"
)

// Amplification names the class of answers of a protocol's servers that nobody has asked for: "dns_amplification".
func Amplification(protocol string) string { return protocol + "_amplification" }

// Requests names the class of a protocol's other packets: "dns_flood".
func Requests(protocol string) string { return protocol + "_flood" }

// Vector is one kind of packets of an attack. Shares and confidences are 0..1.
type Vector struct {
	Class      string    `json:"class"`
	Share      float64   `json:"share"`        // of all packets, sampling rates applied
	ByteShare  float64   `json:"byte_share"`   // of all bytes
	Samples    int       `json:"samples"`      // that were really seen
	Confidence float64   `json:"confidence"`   // how sure the class is: what proves it, and by how many samples
	Of         string    `json:"of,omitempty"` // the class that fragments, ICMP errors or connections are part of
	From       time.Time `json:"from"`         // the first and the last sample: an attacker may change vectors
	To         time.Time `json:"to"`
	Evidence   []string  `json:"evidence"`
}

// Pattern is how an attack is spread over destinations or time.
type Pattern struct {
	Name       string       `json:"name"`
	Confidence float64      `json:"confidence"`
	Prefix     netip.Prefix `json:"prefix,omitzero"` // of CarpetBombing: the smallest that holds nine tenths of the packets
	Evidence   string       `json:"evidence"`
}

// Verdict says what is to be thought of the source addresses.
type Verdict string

// The verdicts on sources.
const (
	SourcesForged     Verdict = "forged"
	SourcesReflectors Verdict = "reflectors" // real servers, answering questions that were asked in our name
	SourcesReal       Verdict = "real"
	SourcesUnclear    Verdict = "unclear"
)

// Spoofing is what the source addresses tell. Shares are 0..1 of all packets.
type Spoofing struct {
	Verdict    Verdict  `json:"verdict"`
	Impossible float64  `json:"impossible"`  // all of the following
	Bogons     float64  `json:"bogons"`      // addresses that nobody on the Internet has
	WrongSide  float64  `json:"wrong_side"`  // incoming from our own networks, or outgoing from others'
	Land       float64  `json:"land"`        // source and destination are the same
	Sources    int      `json:"sources"`     // distinct addresses seen
	TopSource  float64  `json:"top_source"`  // share of the address with the most packets
	FirstBytes int      `json:"first_bytes"` // IPv4: how many of the 256 first bytes of addresses occur
	TTLs       int      `json:"ttls"`        // distinct values
	TTLLow     uint8    `json:"ttl_low"`     // nine tenths of all packets lie in TTLLow..TTLHigh
	TTLHigh    uint8    `json:"ttl_high"`
	Evidence   []string `json:"evidence"`
}

// Report is what a set of samples is made of.
type Report struct {
	Name       string            `json:"name"` // the class of the only vector that counts, or MultiVector, or Unclassified
	Direction  traffic.Direction `json:"-"`
	Confidence float64           `json:"confidence"` // of all vectors, weighted by their share
	Samples    int               `json:"samples"`
	From       time.Time         `json:"from"`
	To         time.Time         `json:"to"`
	Vectors    []Vector          `json:"vectors"` // the largest share first
	Rest       float64           `json:"rest"`    // share of packets in kinds that are too rare to be vectors
	Patterns   []Pattern         `json:"patterns,omitempty"`
	Spoofing   Spoofing          `json:"spoofing"`
	// VectorOf says for each sample which of Vectors it belongs to; -1: none.
	VectorOf []int `json:"-"`

	meanBytes float64 // of a packet
}

// String tells the report in a few lines of text, as a person would.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, confidence %.2f, from %d samples\n", r.Direction, r.Name, r.Confidence, r.Samples)
	for _, v := range r.Vectors {
		fmt.Fprintf(&b, "  %s: %s of packets, %s of bytes, confidence %.2f\n", v.Class, percent(v.Share), percent(v.ByteShare), v.Confidence)
		for _, e := range v.Evidence {
			fmt.Fprintf(&b, "    %s\n", e)
		}
	}
	for _, p := range r.Patterns {
		fmt.Fprintf(&b, "  %s: %s\n", p.Name, p.Evidence)
	}
	fmt.Fprintf(&b, "  sources %s\n", r.Spoofing.Verdict)
	for _, e := range r.Spoofing.Evidence {
		fmt.Fprintf(&b, "    %s\n", e)
	}
	return b.String()
}

// percent writes 0.5 as "50 %" and small shares with one digit more.
func percent(share float64) string {
	if share > 0 && share < 0.1 || share > 0.99 && share < 1 {
		return fmt.Sprintf("%.1f %%", share*100)
	}
	return fmt.Sprintf("%.0f %%", share*100)
}
