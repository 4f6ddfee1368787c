/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What of abi.h is about rules and lists of sources. */
#ifndef WEIR_ABI_RULES_H
#define WEIR_ABI_RULES_H

#include <linux/types.h>

#define RULE_SHAPES 32
#define RULE_WORDS 12
#define RULE_CHAIN 4 /* rules that one key may have */
#define RULE_PAYLOADS 2
#define RULE_PAYLOAD_BYTES 16
#define RULE_BUCKET 4

/*
 * Rules. A packet is a row of words. A shape is a set of words and bits that rules look at: what is left of a packet behind its
 * mask is a key, and the keys of all rules are in one hash table. Sets of values that are too many to enter each are classes:
 * the values that no rule of the set tells apart. A key has of each field the value or the class, as the shape says.
 */
enum rule_word {
	RULE_DESTINATION,  /* IPv4: in host byte order; IPv6: the last 32 bits of the address as they lie in memory */
	RULE_SOURCE,
	RULE_PORTS,        /* source << 16 | destination */
	RULE_KINDS,        /* protocol << 24 | ICMP type << 16 | ICMP code << 8 | DSCP */
	RULE_SIZES,        /* length of the IP packet << 12 | TCP flags */
	RULE_REST,         /* fragment bits << 24 | flow label; the shape's number in bits 20-23 and 28 */
	RULE_DESTINATION6, /* IPv6: 12 bytes from behind to the front, in three words; and the source's */
	RULE_SOURCE6 = RULE_DESTINATION6 + 3,
};
#define RULE_NARROW RULE_DESTINATION6 /* words that IPv4 has */

/* What a packet has, and a shape needs. */
#define HAS_IPV4 (1U << 0)
#define HAS_IPV6 (1U << 1)
#define HAS_PORTS (1U << 2)
#define HAS_TCP (1U << 3)
#define HAS_ICMP (1U << 4)

/* Where each field's classes begin in rule_classes, in entries of 16 bits. */
#define CLASS_SOURCE_PORT 0
#define CLASS_DESTINATION_PORT (1U << 16)
#define CLASS_LENGTH (2U << 16)
#define CLASS_LENGTHS 65600 /* IPv6: a header more than 16 bits can say */
#define CLASS_TCP_FLAGS (CLASS_LENGTH + CLASS_LENGTHS)
#define CLASS_PROTOCOL (CLASS_TCP_FLAGS + 4096)
#define CLASS_ICMP_TYPE (CLASS_PROTOCOL + 256)
#define CLASS_ICMP_CODE (CLASS_ICMP_TYPE + 256)
#define CLASS_DSCP (CLASS_ICMP_CODE + 256)
#define CLASS_COUNT (CLASS_DSCP + 64)

/* Of which fields there are classes; kinds are all from the protocol on. */
#define HAS_CLASS_SOURCE_PORT (1U << 0)
#define HAS_CLASS_DESTINATION_PORT (1U << 1)
#define HAS_CLASS_LENGTH (1U << 2)
#define HAS_CLASS_TCP_FLAGS (1U << 3)
#define HAS_CLASS_KINDS (1U << 4)

struct shape {
	__u32 mask[RULE_WORDS];     /* of the values */
	__u32 classes[RULE_NARROW]; /* of the classes */
	__u32 needs;                /* HAS_ */
	__u32 first;                /* the least order of its rules: shapes stand in the order of these */
	__u32 number;               /* what its keys have in RULE_REST */
	__u32 loose;                /* its rules count only, whatever else the packet matches; these shapes come first */
};

/* All that rules are in one generation but for the tables. Masks are sizes, powers of two, less 1. */
struct ruleset {
	__u64 secret[2][RULE_WORDS];
	__u32 shapes;
	__u32 bucket_mask;
	__u32 bloom_within; /* of words, the bits that a key chooses */
	__u32 guard_mask;  /* of bits */
	__u32 any_class;   /* HAS_CLASS_ */
	__u32 by_source;   /* some rule is found by its source, because it has no destination */
	__u32 guard_all;   /* rules are for too many hosts to mark each */
	__u32 bloom_page;  /* of words, the bits that a key's destination chooses */
	struct shape shape[RULE_SHAPES];
};

/* rule_entry.word and rule.word: bits 28-31 enum ruling, bit 27: for ever, else as in cell.verdict. */
#define RULE_FOREVER (1U << 27)
enum ruling {
	RULING_NONE,
	RULING_DROP,
	RULING_PASS,
	RULING_LIMIT,
	RULING_COUNT_ONLY,
	RULING_LOOK, /* entries: rule is an index into rules */
};

struct rule_entry {
	__u64 tag; /* 0: none */
	__u32 rule; /* its order, which is where its hits are counted */
	__u32 word;
};

struct rule_bucket {
	struct rule_entry entry[RULE_BUCKET];
};
_Static_assert(sizeof(struct rule_bucket) == 64, "a bucket is one cache line");

/* What does not fit into an entry: a rule with a limit or a payload, or one of several that share a key. */
struct rule {
	__u32 order;
	__u32 word;
	__u32 next;    /* another rule with this key: its index + 1, or 0. The orders rise */
	__u32 payload; /* index + 1 into rule_payloads, or 0 */
	__u32 limit;   /* index into rule_limits */
	__u32 sample;
};

/* Bytes behind the transport header; the first with length 0 ends them. */
struct rule_payload {
	struct {
		__u16 offset;
		__u16 length;
		__u32 reserved;
		__u8 value[RULE_PAYLOAD_BYTES];
		__u8 mask[RULE_PAYLOAD_BYTES];
	} run[RULE_PAYLOADS];
};

/* Token buckets, all CPUs' together: the moments until which what was let pass has used up the rate. In 1/1024 ns. */
struct rule_limit {
	__u64 packets_until;
	__u64 bytes_until;
	__u64 per_packet; /* 0: no limit */
	__u64 per_byte;
	__u64 burst;      /* how far the moments may lie ahead */
};

struct rule_hits {
	__u64 packets;
	__u64 bytes;
	__u64 last; /* jiffies */
};

/* What a list of sources says of an address. */
enum listed {
	LISTED_NONE,
	LISTED_ALLOW,
	LISTED_BLOCK,
	LISTED_LEAF, /* of a /24: each of its addresses has a word of its own */
};

/* Of 32 IPv4 networks of 24 bits, two bits each, enum listed; and where the leaves of those that have one begin. */
#define SOURCES4_LOG2 19
struct sources4 {
	__u64 kinds;
	__u32 leaves;
	__u32 reserved;
};

struct source_leaf {
	__u64 kinds[8]; /* two bits for each address */
};

/* IPv6 prefixes are in a hash table, whose entries' words are enum listed. Their lengths are few; the longest come first. */
#define SOURCE_LENGTHS 16
#define SOURCE_WORDS 6
struct source_set {
	__u64 secret[2][SOURCE_WORDS];
	struct {
		__be64 high;
		__be64 low;
	} mask[SOURCE_LENGTHS];
	__u32 bucket_mask;
	__u32 has_ipv6;
};

#endif
