package kafka

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// column is what one field of a message says about a flow.
type column uint8

const (
	unused column = iota
	flowType
	received // seconds
	receivedNS
	start // seconds
	startNS
	end // seconds
	endNS
	samplingRate
	packetCount
	byteCount
	etherType
	protocol
	srcPort
	dstPort
	input
	output
	vlan
	srcVLAN
	tos
	ttl
	tcpFlags
	ipFlags
	fragmentOffset
	forwarding
	direction
	domain
	srcAS
	dstAS
	srcMask
	dstMask
	numberCount // what stands before is a number, what follows an address
	exporter
	src
	dst
	nextHop
	columnCount
)

func (c column) address() bool { return c > numberCount }

// columnOf finds what a field is for by its name. GoFlow2 writes src_addr, Akvorado SrcAddr; what either calls by another name is here twice.
func columnOf(name string) column {
	switch strings.ToLower(strings.ReplaceAll(name, "_", "")) {
	case "type":
		return flowType
	case "timereceived":
		return received
	case "timereceivedns":
		return receivedNS
	case "timeflowstart":
		return start
	case "timeflowstartns":
		return startNS
	case "timeflowend":
		return end
	case "timeflowendns":
		return endNS
	case "samplingrate":
		return samplingRate
	case "packets":
		return packetCount
	case "bytes":
		return byteCount
	case "etype":
		return etherType
	case "proto":
		return protocol
	case "srcport":
		return srcPort
	case "dstport":
		return dstPort
	case "inif":
		return input
	case "outif":
		return output
	case "vlanid":
		return vlan
	case "srcvlan":
		return srcVLAN
	case "iptos":
		return tos
	case "ipttl":
		return ttl
	case "tcpflags":
		return tcpFlags
	case "ipflags":
		return ipFlags
	case "fragmentoffset", "ipfragmentoffset":
		return fragmentOffset
	case "forwardingstatus":
		return forwarding
	case "flowdirection":
		return direction
	case "observationdomainid":
		return domain
	case "srcas":
		return srcAS
	case "dstas":
		return dstAS
	case "srcnet", "srcnetmask":
		return srcMask
	case "dstnet", "dstnetmask":
		return dstMask
	case "sampleraddress", "exporteraddress":
		return exporter
	case "srcaddr":
		return src
	case "dstaddr":
		return dst
	case "nexthop":
		return nextHop
	}
	return unused
}

// mostFields is one more than the highest field number that may matter.
const mostFields = 1024

// schema is what a message's fields are for, by their numbers.
type schema [mostFields]column

// goFlow2 has the numbers of FlowMessage in GoFlow2's pb/flow.proto, version 2.
const goFlow2 = `message FlowMessage {
	FlowType type = 1; uint64 sampling_rate = 3; bytes src_addr = 6; bytes dst_addr = 7; uint64 bytes = 9; uint64 packets = 10;
	bytes sampler_address = 11; bytes next_hop = 12; uint32 src_as = 14; uint32 dst_as = 15; uint32 src_net = 16; uint32 dst_net = 17;
	uint32 in_if = 18; uint32 out_if = 19; uint32 proto = 20; uint32 src_port = 21; uint32 dst_port = 22; uint32 ip_tos = 23;
	uint32 forwarding_status = 24; uint32 ip_ttl = 25; uint32 tcp_flags = 26; uint32 vlan_id = 29; uint32 etype = 30; uint32 src_vlan = 33;
	uint32 fragment_offset = 36; uint32 ip_flags = 38; uint32 observation_domain_id = 70;
	uint64 time_received_ns = 110; uint64 time_flow_start_ns = 111; uint64 time_flow_end_ns = 112;
}`

// akvorado has the numbers that result from the columns of Akvorado's source of 2026 (common/schema/definition.go at 031a3c9): it counts its
// columns through to number them, so that any version that has one more shifts those behind it. No file served by a running Akvorado was at hand.
const akvorado = `message FlowMessage {
	uint32 TimeReceived = 1; uint64 SamplingRate = 2; bytes ExporterAddress = 3; bytes SrcAddr = 10; bytes DstAddr = 11;
	uint32 SrcNetMask = 12; uint32 DstNetMask = 13; uint32 SrcAS = 14; uint32 DstAS = 15; uint32 SrcVlan = 16;
	uint32 EType = 35; uint32 Proto = 36; uint32 SrcPort = 37; uint32 DstPort = 38; uint64 Bytes = 39; uint64 Packets = 40;
	uint32 ForwardingStatus = 41; uint32 FlowDirection = 42; uint32 IPTTL = 49; uint32 IPTos = 50; uint32 IPFragmentOffset = 52;
	uint32 TCPFlags = 54; bytes NextHop = 59;
}`

// parseSchema reads the first message of a .proto file. Only names and numbers matter; names that mean nothing here are passed over.
func parseSchema(text string) (*schema, error) {
	tokens := tokenize(text)
	at := 0
	for ; at < len(tokens) && tokens[at] != "message"; at++ {
	}
	if at += 2; at >= len(tokens) || tokens[at] != "{" {
		return nil, errors.New("read schema: it has no message; give the .proto file that the sender writes by")
	}
	var s schema
	var have [columnCount]bool
	statement := at + 1
	for at++; at < len(tokens) && tokens[at] != "}"; at++ {
		switch tokens[at] {
		case "{": // an enum, or a message in the message
			for depth := 1; depth > 0; {
				if at++; at >= len(tokens) {
					return nil, errors.New("read schema: it ends within a block")
				}
				switch tokens[at] {
				case "{":
					depth++
				case "}":
					depth--
				}
			}
			statement = at + 1
		case ";":
			if err := s.field(tokens[statement:at], &have); err != nil {
				return nil, err
			}
			statement = at + 1
		}
	}
	if at == len(tokens) {
		return nil, errors.New("read schema: it ends within its message")
	}
	for _, c := range []struct {
		column
		name string
	}{{src, "source address"}, {dst, "destination address"}, {byteCount, "bytes"}, {packetCount, "packets"}} {
		if !have[c.column] {
			return nil, fmt.Errorf("read schema: no field for the %s; give the .proto file of GoFlow2 or Akvorado", c.name)
		}
	}
	return &s, nil
}

// field takes a statement such as "uint32 src_port = 21".
func (s *schema) field(statement []string, have *[columnCount]bool) error {
	equals := 0
	for i, t := range statement {
		if t == "=" {
			equals = i
			break
		}
	}
	// "option", "reserved" and the like have fewer words before the sign, or none.
	if equals < 2 || equals+1 >= len(statement) || statement[0] == "option" {
		return nil
	}
	name := statement[equals-1]
	c := columnOf(name)
	if c == unused {
		return nil
	}
	number, err := strconv.ParseUint(statement[equals+1], 0, 32)
	if err != nil || number == 0 || number >= mostFields || !protowire.Number(number).IsValid() {
		return fmt.Errorf("read schema: field %s has the number %s; expected 1 to %d", name, statement[equals+1], mostFields-1)
	}
	if s[number] != unused || have[c] {
		return fmt.Errorf("read schema: field %s = %d: the number or the meaning is another field's, too", name, number)
	}
	s[number], have[c] = c, true
	return nil
}

// tokenize splits a .proto file into words and signs, without comments.
func tokenize(text string) []string {
	var tokens []string
	for len(text) > 0 {
		switch c := text[0]; {
		case strings.HasPrefix(text, "//"):
			_, text, _ = strings.Cut(text, "\n")
		case strings.HasPrefix(text, "/*"):
			_, text, _ = strings.Cut(text[2:], "*/")
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			text = text[1:]
		case strings.IndexByte("{}=;[]()<>,", c) >= 0:
			tokens, text = append(tokens, text[:1]), text[1:]
		default:
			n := strings.IndexAny(text, "{}=;[]()<>, \t\r\n/")
			switch n {
			case -1:
				n = len(text)
			case 0: // a lone slash
				n = 1
			}
			tokens, text = append(tokens, text[:n]), text[n:]
		}
	}
	return tokens
}
