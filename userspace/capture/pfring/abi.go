package pfring

// The interface of the pf_ring module, as linux/pf_ring.h of PF_RING 8.9 has it for systems of 64 bits. Values are in host byte order.
const (
	family         = 27 // PF_RING
	flowSlotABI    = 21 // RING_FLOWSLOT_VERSION: the layout of ring and slots
	anyQueue       = 64 // of a cluster: whichever is free
	allChannels    = ^uint64(0)
	directionRx    = 1
	modeReceive    = 2
	longestCapture = 65600

	// Options of the socket, all at level 0.
	optChannels     = 108 // u64: a bit per receive queue
	optCluster      = 99  // struct add_to_cluster
	optSampling     = 105 // u32
	optActivate     = 106 // u8
	optBucketLength = 107 // u32: bytes of each packet that are kept
	optName         = 110 // string
	optDirection    = 111 // u32
	optWatermark    = 117 // u16: packets that must wait before poll returns
	optWatermarkMs  = 121 // u16: or so many milliseconds
	optSocketMode   = 126 // u32
	optShortHeader  = 127 // u8
	optPromiscuous  = 140 // u32
	optVersion      = 170 // read: u32
	optHeaderLength = 179 // read: u16

	// The first page of the ring: FlowSlotInfo.
	infoBytes    = 8192
	infoVersion  = 0  // u16
	infoSlotMost = 8  // u32: bytes of the largest slot
	infoTotal    = 16 // u64: bytes of info and slots
	infoPackets  = 40 // u64: packets that came
	infoLost     = 48 // u64: that found no room
	infoInserted = 56 // u64: that were put into slots

	// Its second page is ours to write.
	ourRead   = 4096 // u64: packets that we are done with
	ourOffset = 4104 // u64: where the next one lies, from the first slot on

	// The short header of a slot: struct pfring_pkthdr without what the module would parse.
	shortHeader   = 48
	headCaptured  = 16 // u32
	headLength    = 20 // u32
	headTime      = 24 // u64: ns since 1970, 0 when the module takes no times
	headInterface = 40 // i32

	magicBytes = 2 // 0x88 0x88 behind each packet
)
