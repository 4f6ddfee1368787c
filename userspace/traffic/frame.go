package traffic

import "fmt"

// Link is what a frame begins with.
type Link uint8

const (
	LinkEthernet Link = iota
	LinkIP            // an IPv4 or IPv6 header, told by its version
	LinkPPP           // a PPP protocol number, with or without address and control bytes before it (RFC 1661, 1662)
	LinkMPLS          // an MPLS label stack
	LinkSLL           // Linux "cooked" capture, version 1
	LinkSLL2          // the same, version 2
	LinkNull          // BSD loopback: an address family in the capturing host's byte order
	LinkUnknown
)

var linkNames = [...]string{"ethernet", "ip", "ppp", "mpls", "linux-sll", "linux-sll2", "null", "unknown"}

// String returns the link type's name.
func (l Link) String() string {
	if int(l) < len(linkNames) {
		return linkNames[l]
	}
	return fmt.Sprintf("link(%d)", uint8(l))
}

// Frame is one captured frame. An engine fills the same Frame again and again: Data belongs to its ring, and nothing of the frame
// may be kept beyond the call that hands it over.
type Frame struct {
	Data      []byte // as much of it as was captured
	Length    uint32 // bytes on the wire without FCS; at least len(Data)
	Time      int64  // ns since 1970
	Interface int32  // kernel index, 0: unknown
	Link      Link
	VLAN      uint16 // the outermost tag's TCI that hardware has taken off the frame
	HasVLAN   bool   // Length counts the tag's 4 bytes, Data has it not
}

// CaptureStats is what an engine has counted on one interface since it was opened.
type CaptureStats struct {
	Engine     string // "afpacket", "afxdp", "pcap", ...
	Interface  string
	Mode       string // what was chosen: "zero copy", "copy", "fanout cpu", ...
	Workers    int
	Received   uint64 // frames handed to Weir
	KernelDrop uint64 // frames that found no room in the ring, counted by the kernel or the driver
	Dropped    uint64 // frames that we gave up: cut off, malformed ring entries
	Restarts   uint64 // how often the engine was opened again after its interface went away
	Error      string // what is wrong now; empty: nothing
}
