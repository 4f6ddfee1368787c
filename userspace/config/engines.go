package config

// Engine is what takes packets off an interface.
type Engine string

// EngineXDP counts in the kernel and can drop. All others hand copies of frames to the daemon, and can not.
const (
	EngineXDP      Engine = "xdp"
	EngineAFPacket Engine = "afpacket" // Linux: rings of the kernel's packet sockets
	EngineAFXDP    Engine = "afxdp"    // Linux: frames that an XDP program takes off before the network stack
	EnginePcap     Engine = "pcap"     // libpcap's way, on every system
	EngineNetmap   Engine = "netmap"   // Linux with its module, FreeBSD
	EnginePFRing   Engine = "pfring"   // Linux with ntop's module
	EngineSnabb    Engine = "snabb"    // a Snabb process beside the daemon
)

func engines() []Engine {
	return []Engine{EngineXDP, EngineAFPacket, EngineAFXDP, EnginePcap, EngineNetmap, EnginePFRing, EngineSnabb}
}

// Capture is how an engine other than EngineXDP takes frames off an interface. What belongs to another engine than the interface's is zero.
type Capture struct {
	Promiscuous bool   // take frames for other stations too
	Sampling    uint32 // each frame that arrives stands for so many; at least 1
	Workers     int    // goroutines; 0: as many as the engine and this machine have use for
	AFPacket    AFPacket
	AFXDP       AFXDP
	Pcap        Pcap
	Netmap      Netmap
	PFRing      PFRing
	Snabb       Snabb
}

// Fanout is how the kernel spreads an interface's frames over workers.
type Fanout string

const (
	FanoutCPU      Fanout = "cpu"           // by the CPU that the frame came in on
	FanoutHash     Fanout = "hash"          // by flow
	FanoutLB       Fanout = "lb"            // one after the other
	FanoutRollover Fanout = "rollover"      // to the next one when one has no room
	FanoutQueue    Fanout = "queue_mapping" // by the NIC's receive queue
	FanoutRandom   Fanout = "random"
)

func fanouts() []Fanout {
	return []Fanout{FanoutCPU, FanoutHash, FanoutLB, FanoutRollover, FanoutQueue, FanoutRandom}
}

// AFPacket is the ring of each worker: Blocks times BlockSize bytes.
type AFPacket struct {
	Fanout         Fanout
	Blocks         int
	BlockSize      int64         // a power of two
	KernelSampling uint32        // the kernel passes one frame in so many on, at random; each stands for so many
	Filter         []Instruction // frames that it returns 0 for are not captured; empty: all are
}

// Instruction is one of a classic BPF program (struct sock_filter of linux/filter.h).
type Instruction struct {
	Op     uint16
	JT, JF uint8
	K      uint32
}

// ZeroCopy is whether the NIC writes frames straight into our memory.
type ZeroCopy string

const (
	ZeroCopyAuto ZeroCopy = "auto" // where the driver can
	ZeroCopyOn   ZeroCopy = "on"   // or fail
	ZeroCopyOff  ZeroCopy = "off"
)

// AFXDP is which of the NIC's receive queues are taken, and how.
type AFXDP struct {
	Queues   []int // sorted; empty: all
	ZeroCopy ZeroCopy
}

// Pcap is how much of each frame is taken, and how many bytes wait in the kernel.
type Pcap struct {
	SnapLength int
	Buffer     int64
}

// Netmap allows port names that take what this machine itself sends and receives by the interface, which then stops.
type Netmap struct{ HostRings bool }

// PFRing is a ring of ntop's kernel module.
type PFRing struct {
	Cluster        int    // shares the interface's packets with other programs of this cluster; 0: none
	Watermark      int    // packets that must wait before the daemon is woken
	KernelSampling uint32 // the module passes one packet in so many on, which counts as so many
}

// Snabb is the process that is started.
type Snabb struct {
	Program string // a path, or a name that is looked for in $PATH
	Script  string // empty: the one that Weir brings along
}
