package netmap

// The interface between netmap and its users, as net/netmap.h of API 14 has it: offsets in bytes, values in host byte order.

const (
	apiVersion = 14
	nameBytes  = 64 // with the 0 at the end

	// struct nmreq_header
	headerBytes    = 88
	headerVersion  = 0  // u16
	headerRequest  = 2  // u16
	headerName     = 8  // char[64]
	headerOptions  = 72 // u64
	headerBody     = 80 // u64: the address of the body
	requestReg     = 1  // NETMAP_REQ_REGISTER
	requestInfo    = 2  // NETMAP_REQ_PORT_INFO_GET
	registerBytes  = 56
	registerOffset = 0  // u64, out: of struct netmap_if in the memory
	registerSize   = 8  // u64, out: of the memory
	registerRings  = 26 // u16: receive rings
	registerHost   = 30 // u16: host receive rings
	registerRing   = 34 // u16: which one, in the modes of one ring
	registerMode   = 36 // u32
	registerFlags  = 48 // u64
	infoBytes      = 32
	infoRings      = 18 // u16: receive rings
	infoHostRings  = 22 // u16

	modeOneNIC  = 4 // NR_REG_ONE_NIC
	modeOneHost = 8 // NR_REG_ONE_SW

	flagReceiveOnly = 0x2000  // NR_RX_RINGS_ONLY
	flagNoTxPoll    = 0x20000 // NR_NO_TX_POLL

	// struct netmap_if
	ifTxRings     = 24 // u32
	ifRxRings     = 28 // u32
	ifHostTxRings = 36 // u32
	ifHostRxRings = 40 // u32
	ifRings       = 56 // i64[]: transmit, host transmit, receive, host receive; each from the netmap_if on

	// struct netmap_ring
	ringBuffers  = 0  // i64: the buffers, from the ring on
	ringSlots    = 8  // u32
	ringBufBytes = 12 // u32
	ringDir      = 18 // u16: 1 receives
	ringHead     = 20 // u32, ours: what we have let go of
	ringCur      = 24 // u32, ours: where to wake us
	ringTail     = 28 // u32, the kernel's: the end of what has come
	ringSeconds  = 40 // i64
	ringMicros   = 48 // i64
	ringMask     = 56 // u64: of a slot's ptr, the part that is an offset in the buffer
	ringFirst    = 256
	ringFlags    = 32 // u32
	ringStamps   = 2  // NR_TIMESTAMP: have the kernel set the time at each synchronization

	// struct netmap_slot
	slotBytes    = 16
	slotBuffer   = 0 // u32: the index of the buffer
	slotLength   = 4 // u16
	slotFlags    = 6 // u16
	slotPtr      = 8 // u64
	slotMoreFrag = 0x20
)

// fragmentsMost is how many slots one frame may take.
const fragmentsMost = 64
