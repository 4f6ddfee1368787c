package eventjson

import (
	"net/netip"
	"strconv"
	"time"

	"weir/userspace/traffic"
)

// AppendHost appends what a host receives and sends as one JSON object: {"event":"host","time":...,"host":...,"hostgroup":...,"incoming":{...},"outgoing":{...}}.
func AppendHost(dst []byte, at time.Time, h *traffic.HostRate) []byte {
	dst = begin(dst, "host", at)
	dst = appendTarget(append(dst, `,"host":"`...), h.Host)
	dst = appendText(append(dst, `","hostgroup":`...), h.Group)
	return append(appendTwoWay(dst, &h.TwoWay), '}')
}

// AppendNetwork appends what one of our networks receives and sends: as a host, with "network" in place of it.
func AppendNetwork(dst []byte, at time.Time, n *traffic.NetworkRate) []byte {
	dst = begin(dst, "network", at)
	dst = append(n.Prefix.AppendTo(append(dst, `,"network":"`...)), '"')
	return append(appendTwoWay(dst, &n.TwoWay), '}')
}

// AppendGroup appends what a hostgroup receives and sends: as a host, with "hostgroup" in place of it.
func AppendGroup(dst []byte, at time.Time, g *traffic.GroupRate) []byte {
	dst = begin(dst, "hostgroup", at)
	dst = appendText(append(dst, `,"hostgroup":`...), g.Name)
	return append(appendTwoWay(dst, &g.TwoWay), '}')
}

// AppendTotal appends all traffic of an IP version (4 or 6) in one direction: {"event":"total","time":...,"ip_version":4,"direction":...,"rate":{...}}.
func AppendTotal(dst []byte, at time.Time, version int, d traffic.Direction, c *traffic.Counts) []byte {
	dst = begin(dst, "total", at)
	dst = strconv.AppendInt(append(dst, `,"ip_version":`...), int64(version), 10)
	dst = append(append(append(dst, `,"direction":"`...), d.String()...), `","rate":`...)
	return append(appendCounts(dst, c), '}')
}

// AppendFlow appends a flow record, or a sampled packet, as its exporter counted it: times rate, it is what was there. "dropped" is what the exporter did not
// forward. What has "notice" stands for no other packets and is told of besides the samples, so that it is not to be added to them.
// It allocates nothing but what dst needs.
func AppendFlow(dst []byte, f *traffic.Flow) []byte {
	dst = begin(dst, "flow", time.Unix(0, f.End))
	if f.Start != 0 {
		dst = appendTime(append(dst, `,"start":`...), time.Unix(0, f.Start))
	}
	dst = append(append(append(dst, `,"protocol_version":"`...), f.Source.String()...), `"`...)
	dst = appendAddr(append(dst, `,"exporter":`...), f.Exporter)
	for _, n := range [...]struct {
		name  string
		value uint64
	}{
		{`,"domain":`, uint64(f.Domain)}, {`,"rate":`, uint64(max(f.Rate, 1))}, {`,"packets":`, f.Packets}, {`,"bytes":`, f.Bytes},
		{`,"protocol":`, uint64(f.Protocol)}, {`,"source_port":`, uint64(f.SrcPort)}, {`,"destination_port":`, uint64(f.DstPort)},
		{`,"tcp_flags":`, uint64(f.TCPFlags)}, {`,"tos":`, uint64(f.TOS)}, {`,"ttl":`, uint64(f.TTL)}, {`,"fragment":`, uint64(f.Fragment)},
		{`,"input":`, uint64(f.Input)}, {`,"output":`, uint64(f.Output)}, {`,"source_as":`, uint64(f.SrcAS)}, {`,"destination_as":`, uint64(f.DstAS)},
		{`,"vlan":`, uint64(f.VLAN)},
	} {
		dst = strconv.AppendUint(append(dst, n.name...), n.value, 10)
	}
	dst = appendAddr(append(dst, `,"source":`...), f.Src)
	dst = appendAddr(append(dst, `,"destination":`...), f.Dst)
	dst = strconv.AppendBool(append(dst, `,"dropped":`...), f.Dropped)
	if f.Notice {
		dst = append(dst, `,"notice":true`...)
	}
	return append(dst, '}')
}

// begin opens an object with its kind and time.
func begin(dst []byte, event string, at time.Time) []byte {
	dst = append(append(dst, `{"event":"`...), event...)
	return appendTime(append(dst, `","time":`...), at)
}

func appendTime(dst []byte, at time.Time) []byte {
	return append(at.UTC().AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
}

func appendAddr(dst []byte, a netip.Addr) []byte {
	dst = append(dst, '"')
	if a.IsValid() {
		dst = a.AppendTo(dst)
	}
	return append(dst, '"')
}

// appendTarget writes a single address without its length.
func appendTarget(dst []byte, p netip.Prefix) []byte {
	if p.IsSingleIP() {
		return p.Addr().AppendTo(dst)
	}
	return p.AppendTo(dst)
}

// appendText quotes a name of the configuration, which has no characters that JSON would have to escape but quotes and backslashes.
func appendText(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else if c >= ' ' {
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func appendTwoWay(dst []byte, t *traffic.TwoWay) []byte {
	dst = appendCounts(append(dst, `,"incoming":`...), &t.Incoming)
	return appendCounts(append(dst, `,"outgoing":`...), &t.Outgoing)
}

// appendCounts writes the same as encoding/json does.
func appendCounts(dst []byte, c *traffic.Counts) []byte {
	dst = appendCount(append(dst, `{"total":`...), c.Total)
	dst = strconv.AppendUint(append(dst, `,"flows":`...), c.Flows, 10)
	dst = appendCount(append(dst, `,"tcp":`...), c.TCP)
	dst = appendCount(append(dst, `,"udp":`...), c.UDP)
	dst = appendCount(append(dst, `,"icmp":`...), c.ICMP)
	dst = appendCount(append(dst, `,"tcp_syn":`...), c.TCPSYN)
	dst = appendCount(append(dst, `,"fragments":`...), c.Fragments)
	dst = appendCount(append(dst, `,"dropped":`...), c.Dropped)
	if c.Unseen > 0 {
		dst = strconv.AppendUint(append(dst, `,"unseen":`...), c.Unseen, 10)
	}
	return append(dst, '}')
}

func appendCount(dst []byte, c traffic.Count) []byte {
	dst = strconv.AppendUint(append(dst, `{"packets":`...), c.Packets, 10)
	return append(strconv.AppendUint(append(dst, `,"bytes":`...), c.Bytes, 10), '}')
}
