/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps. Those with max_entries 1 are sized by the loader; mmapable ones are read by the daemon without system calls. */
#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include <stdbool.h>
#include <linux/bpf.h>
#include "headers/bpf_helpers.h"
#include "abi.h"
#include "abi_rules.h"
#include "abi_auth.h"

const volatile struct settings settings = { .cpus = 1, .slots = 1, .dense_slots = 1 };

/* A parsed packet: host byte order but for the IPv6 addresses. */
struct packet {
	struct address source; /* IPv6, network byte order */
	struct address destination;
	__u32 source4; /* IPv4 in host byte order */
	__u32 destination4;
	__u32 length; /* frame bytes on the wire */
	__u16 packets; /* 1, but for a buffer that segmentation will make several packets of */
	__u16 network_at; /* where the IP header is whose addresses these are */
	__u16 source_port;
	__u16 destination_port;
	__u8 family; /* enum family */
	__u8 protocol;
	__u8 tcp_flags;
	__u8 fragment; /* FRAGMENT_ bits of a first or later fragment */
	__u8 neighbour : 1; /* IPv6 neighbour discovery */
	__u8 depth : 7; /* tunnels that were opened */
	__u8 anomaly; /* enum anomaly */
	__u16 at; /* where the parser is, see forget() */
	__u16 next; /* enum layer, or an ethertype: what is at `at` and not looked into yet */
	__u16 transport_at; /* what is behind the IP header and can be read; 0: nothing */
};
_Static_assert(sizeof(struct packet) == 64, "the packet in hand is one cache line");

/*
 * [cpu]: the packet in hand. It lies in a map and not on the stack, because the verifier knows nothing of what is in a map:
 * all the ways through the parser meet again behind it, where otherwise each would be followed to the end of the program.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} in_hand SEC(".maps");

/* What rules look at in the packet in hand, and what they have come to. */
struct facts {
	__u32 word[RULE_WORDS];
	__u32 class[RULE_NARROW];
	__u32 has; /* HAS_ */
	__u32 generation;
	__u32 best; /* order of the first rule that matches, RULE_NONE: none so far */
	__u32 ruling; /* its enum ruling */
	__u32 limit;
	__u32 sample;
	__u16 payload_at; /* 0: there is none */
	__u16 reserved[3];
};

/* [cpu]: for the same reason as in_hand. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct facts);
} rule_facts SEC(".maps");

/* [generation] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct ruleset);
} rule_sets SEC(".maps");

/* [generation][settings.rule_buckets] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule_bucket);
} rule_table SEC(".maps");

/*
 * [generation][settings.rule_bloom]: three bits in one word per key, so that packets that match nothing rarely come to the table.
 * Where that spreads the keys well enough, those of one destination are in one page of memory, however many shapes they have.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} rule_bloom SEC(".maps");

/* [generation][settings.rule_guard]: a bit per hashed host and block of hosts that rules are for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} rule_guard SEC(".maps");

/* [generation][CLASS_COUNT / 4] of four each, because an array's values are padded to 8 bytes. */
struct classes {
	__u16 of[4];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * CLASS_COUNT / 4);
	__type(key, __u32);
	__type(value, struct classes);
} rule_classes SEC(".maps");

/* [generation][settings.rule_complex], as are the next two */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule_payload);
} rule_payloads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule_limit);
} rule_limits SEC(".maps");

/* [cpu][generation][settings.rules] by order */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule_hits);
} rule_hits SEC(".maps");

/* [cpu][direction][slot] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cell);
} cells SEC(".maps");

/* [cpu][direction][slot / 64]: hosts that have had another HOT_PACKETS packets since the daemon looked. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} hot SEC(".maps");

/* [cpu][generation][FLOW_WORDS] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct locate_pair);
} locate4 SEC(".maps");

/* A bit per hashed first 32 bits of an IPv6 address: clear when no network of ours begins so. Spares most packets the trie. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} filter6 SEC(".maps");

/* IPv6 networks to their numbers. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct prefix_key);
	__type(value, __u32);
} networks6 SEC(".maps");

/* Networks with cells on demand, by number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fold);
} networks SEC(".maps");

/* Hosts with cells on demand, to their slots. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct address);
	__type(value, __u32);
} hosts SEC(".maps");

/* The /24 and /64 that hosts without a cell of their own are counted in. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct address);
	__type(value, struct fold);
} folds SEC(".maps");

/* Slots that nobody has; their cells are zero. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} free_slots SEC(".maps");

/* [slot - dense_slots] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct owner);
} owners SEC(".maps");

/* [direction]: verdicts on prefixes, for hosts that have neither a cell nor a fold; the value is that of cell.verdict. */
struct verdicts {
	__u32 word[DIRECTION_COUNT];
};
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct prefix_key);
	__type(value, struct verdicts);
} prefix_verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

/* wire: from the interface a frame came in on to the one it leaves by. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} pairs SEC(".maps");

/* [generation][2^18]: a bit for each IPv4 network of 24 bits that has anything listed. Most packets' caches have all of it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} sources_any SEC(".maps");

/* [generation][2^SOURCES4_LOG2] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sources4);
} sources4 SEC(".maps");

/* [generation][settings.source_leaves] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct source_leaf);
} source_leaves SEC(".maps");

/* [generation] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct source_set);
} source_sets SEC(".maps");

/* [generation][2^16 / 4]: by the hash of the first 32 bits, a bit for each length of prefixes that begin so. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * (1 << 16) / 4);
	__type(key, __u32);
	__type(value, struct classes);
} source_lengths SEC(".maps");

/* [generation][settings.source_buckets] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule_bucket);
} source_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct auth);
} auth SEC(".maps");

/* [AUTH_GUARD_WORDS]: clear when a host is under no authentication. Spares the others the trie. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, AUTH_GUARD_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} auth_guard SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct prefix_key);
	__type(value, struct armed);
} auth_hosts SEC(".maps");

/* [settings.auth_buckets] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct proof_bucket);
} proofs SEC(".maps");

/* [cpu] */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct auth_cpu);
} auth_cpus SEC(".maps");

#endif
