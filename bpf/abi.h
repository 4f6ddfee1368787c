/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Everything that crosses between the kernel programs and Go, and nothing else. Host byte order unless a type says __be. */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H

#include <linux/types.h>

#define CELL_BYTES 64
#define FLOW_BITS_LOG2 22 /* bits in one generation of one CPU's flow bitmap: 512 KiB */
#define FLOW_WORDS (1U << (FLOW_BITS_LOG2 - 6))
#define HOT_PACKETS 64 /* each so many packets of a cell set its hot bit; a power of two */
#define SAMPLE_BYTES 256
#define VLAN_DEPTH 3
#define MPLS_DEPTH 8
#define EXTENSION_DEPTH 8
#define TUNNEL_DEPTH 8 /* the most that settings.tunnel_depth may be */
#define TUNNEL_PORTS 4 /* of VXLAN */

/* Indexes host cells. */
enum direction {
	DIRECTION_INCOMING,
	DIRECTION_OUTGOING,
	DIRECTION_COUNT,
};

/* Indexes cpu.exits: 0 for frames without an IP header that could be read. */
enum family {
	FAMILY_NONE,
	FAMILY_IPV4,
	FAMILY_IPV6,
	FAMILY_COUNT,
};

/* Why a packet left the program; every exit counts exactly one. */
enum reason {
	REASON_INCOMING,
	REASON_OUTGOING,
	REASON_INTERNAL,
	REASON_OTHER,
	REASON_BANNED_IN,
	REASON_BANNED_OUT,
	REASON_ARP,
	REASON_NOT_IP,
	REASON_SHORT_ETHERNET,
	REASON_SHORT_VLAN,
	REASON_VLAN_DEPTH,
	REASON_SHORT_MPLS,
	REASON_MPLS_DEPTH,
	REASON_SHORT_IPV4,
	REASON_BAD_IPV4,
	REASON_SHORT_IPV6,
	REASON_BAD_IPV6,
	REASON_SHORT_TUNNEL,
	REASON_TUNNEL_DEPTH,
	REASON_FILTERED_IN,
	REASON_FILTERED_OUT,
	REASON_CHALLENGED,
	REASON_PROVEN,
	REASON_UNPROVEN,
	REASON_COUNT,
};

/* What is broken behind readable addresses; such packets are counted for their host all the same. */
enum anomaly {
	ANOMALY_NONE,
	ANOMALY_SHORT_TRANSPORT,
	ANOMALY_SHORT_EXTENSION,
	ANOMALY_EXTENSION_DEPTH,
	ANOMALY_BROKEN_TUNNEL,
	ANOMALY_TUNNEL_DEPTH,
	ANOMALY_COUNT,
};

enum action {
	ACTION_NONE,
	ACTION_DROP,
	ACTION_COUNT,
};

/* What an interface is for: decides what happens to packets that no verdict drops. */
enum role {
	ROLE_HOST,   /* pass to the stack */
	ROLE_WIRE,   /* redirect to the paired interface */
	ROLE_MIRROR, /* drop all but ARP and neighbour discovery */
	ROLE_COUNT,
};

/*
 * cell.verdict: bits 28-31 the action, bit 27 set while the host is under suspicion (sampled more), bits 0-26 the moment
 * the action ends in units of 64 jiffies, modulo 2^27. The kernel compares it with its own clock at every packet, so that
 * a verdict ends on time whatever has become of the daemon.
 */
#define VERDICT_ACTION_SHIFT 28
#define VERDICT_SUSPECT (1U << 27)
#define VERDICT_UNTIL_BITS 27
#define VERDICT_UNIT_SHIFT 6

/* One host in one direction as one CPU has counted it; all counters modulo 2^32. Go: traffic.Cell. */
struct cell {
	__u32 verdict;
	__u32 packets;
	__u32 bytes;
	__u32 flows;
	__u32 tcp_packets;
	__u32 tcp_bytes;
	__u32 udp_packets;
	__u32 udp_bytes;
	__u32 icmp_packets;
	__u32 icmp_bytes;
	__u32 syn_packets;
	__u32 syn_bytes;
	__u32 fragment_packets;
	__u32 fragment_bytes;
	__u32 dropped_packets;
	__u32 dropped_bytes;
};
_Static_assert(sizeof(struct cell) == CELL_BYTES, "a cell is one cache line");

struct count {
	__u64 packets;
	__u64 bytes;
};

/* cpu.filter: what is to be looked at, and in which of two generations. */
#define FILTER_RULES (1U << 0)
#define FILTER_RULES_GENERATION 1 /* the number of the bit */
#define FILTER_SOURCES (1U << 2)
#define FILTER_SOURCES_GENERATION 3
#define FILTER_BLOCKS (1U << 4) /* some sources are blocked; else only hosts under rules or authentication need the lists */
#define FILTER_AUTH (1U << 5) /* some host is under authentication */

/* One CPU's own state: written by that CPU, except for the first four fields, which the daemon writes. */
struct cpu {
	__u32 generation;   /* which half of the flow bitmap is in use: 0 or 1 */
	__u32 sample_rate;  /* 1 packet in so many is sampled; 0: none */
	__u32 suspect_rate; /* the same for hosts under suspicion */
	__u32 filter;       /* FILTER_ bits: what one store switches for all of the CPU's packets to come */
	__u32 sample_left;  /* packets until the next sample */
	__u32 suspect_left;
	__u64 flow_bits[2];   /* bits set in each generation */
	__u64 samples_lost;   /* the ring buffer was full */
	__u64 folded_packets; /* counted for a whole prefix, because no cell was free for the host */
	__u64 redirect_failed; /* wire: no paired interface to send to */
	__u64 source_allowed; /* packets from sources on the list of those that are let pass */
	__u64 source_blocked;
	__u64 anomalies[ANOMALY_COUNT];
	struct count exits[FAMILY_COUNT][REASON_COUNT];
};
_Static_assert(sizeof(struct cpu) % 64 == 0, "no two CPUs share a cache line");

/* An address as a map key: IPv6, or IPv4 mapped into ::ffff:0:0/96. Network byte order. */
struct address {
	__be64 high;
	__be64 low;
};
_Static_assert(sizeof(struct address) == 16, "an IPv6 address");

struct prefix_key {
	__u32 bits;
	struct address address __attribute__((packed));
};
_Static_assert(sizeof(struct prefix_key) == 20, "no padding within a trie's key");

/*
 * locate4 is three levels of 16, 8 and 8 bits of the IPv4 address. The first 65,536 entries are indexed by the upper half; an
 * entry's two upper bits say what the other 30 are.
 */
#define LOCATE_KIND_SHIFT 30
#define LOCATE_VALUE_MASK ((1U << LOCATE_KIND_SHIFT) - 1)
/* Two entries, because an array's values are padded to 8 bytes. */
struct locate_pair {
	__u32 entry[2];
};
enum locate_kind {
	LOCATE_NONE,    /* not ours */
	LOCATE_TABLE,   /* the index of the next level's 256 entries */
	LOCATE_DENSE,   /* the slot of the first address of the range that the entry stands for */
	LOCATE_DYNAMIC, /* the number of a network whose hosts get their slots from the hash map */
};

/* A network or a prefix (/24, /64) whose hosts get cells on demand; one that gets none is counted in the prefix' own. */
struct fold {
	__u32 slot;
	__u32 hosts; /* how many of its hosts have been given a cell */
	__u32 divided; /* networks only: hosts fold into their /24 or /64 first */
	__u32 reserved;
};

/* Who a dynamic slot belongs to. */
struct owner {
	struct address address;
	__u32 bits; /* prefix length of the mapped address: 128 for a host; 0: the slot is free */
	__u32 network;
};

/* A sampled frame in the ring buffer. */
struct sample {
	__u64 time;      /* ns, CLOCK_MONOTONIC */
	__u32 ifindex;
	__u32 rate;      /* one packet in so many was sampled */
	__u32 length;    /* frame bytes on the wire */
	__u32 captured;  /* bytes of data that are valid */
	__u32 reason;    /* enum reason it left by */
	__u32 egress;    /* 1 when it was seen on its way out */
	__u8 data[SAMPLE_BYTES];
};

/* settings.tunnels: kinds that are looked into. Go: traffic.Tunnels. */
#define TUNNEL_PSEUDOWIRE (1U << 0) /* Ethernet in MPLS */
#define TUNNEL_PPPOE (1U << 1)
#define TUNNEL_GRE (1U << 2)
#define TUNNEL_ERSPAN (1U << 3)
#define TUNNEL_IPIP (1U << 4)
#define TUNNEL_UDP (1U << 5) /* those with ports */
#define TUNNEL_L2TPV3 (1U << 6)

/* Known when the program is loaded: the verifier removes what these rule out. */
struct settings {
	__u64 flow_seed;
	__u32 slots;          /* per CPU and direction */
	__u32 dense_slots;    /* the first so many belong to IPv4 networks; the rest are handed out on demand */
	__u32 cpus;
	__u32 role;
	__u32 fold_hosts;     /* hosts of one fold that may have cells of their own */
	__u8 has_ipv6;        /* we have IPv6 networks */
	__u8 has_dynamic4;    /* we have IPv4 networks without dense cells */
	__u8 has_buff_len;    /* the kernel knows multi-buffer frames */
	__u8 tunnel_depth;    /* tunnels within each other that are looked into */
	__u16 tunnels;        /* TUNNEL_ bits; 0: none is looked into, and inner and depth say nothing */
	__u16 vxlan_ports[TUNNEL_PORTS]; /* UDP ports; 0: none, here and in the next three */
	__u16 geneve_port;
	__u16 gtpu_port;
	__u16 l2tp_port;
	__u8 inner;           /* the innermost addresses count, not the outermost */
	__u8 reserved[3];
	__u32 rules;          /* room for rules in one generation, and in the next four for what they are kept in; powers of two */
	__u32 rule_buckets;
	__u32 rule_bloom;     /* words */
	__u32 rule_guard;     /* words */
	__u32 rule_complex;
	__u32 source_leaves;  /* room of one generation */
	__u32 source_buckets; /* a power of two */
	__u32 auth_buckets;   /* of proven sources; a power of two. 0: no source is ever asked for proof */
};

#endif
