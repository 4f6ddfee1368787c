/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What of abi.h is about the authentication of TCP sources. */
#ifndef WEIR_ABI_AUTH_H
#define WEIR_ABI_AUTH_H

#include <linux/types.h>

/* What is asked of sources that are not proven, of a host under authentication; each includes the ones before it. */
enum auth_mode {
	AUTH_OFF,
	AUTH_SYN,     /* a SYN is challenged; everything else passes */
	AUTH_REPLIES, /* a SYN-ACK is dropped */
	AUTH_ALL,     /* and whatever else is TCP */
	AUTH_COUNT,
};

#define AUTH_GUARD_WORDS 1024 /* 2^16 bits: one per hashed host, /24 and /64 under authentication */
#define AUTH_BUCKET 4
#define AUTH_EPOCH_SHIFT 14 /* a cookie is good for one to two times so many jiffies (2^14: 16 to 164 s) */

/* Of all programs; written by the daemon. */
struct auth {
	__u64 cookie_key[2]; /* of SipHash */
	__u64 table_key;
	__u64 answer_cost;   /* ns that one answer takes of its CPU's allowance */
	__u32 lifetime;      /* of a proof, in units of 64 jiffies, since the source was last heard */
	__u32 everywhere;    /* prefixes too wide for the guard are under authentication */
	__u64 reserved[3];
};
_Static_assert(sizeof(struct auth) == 64, "one cache line");

/* A prefix of hosts under authentication. */
struct armed {
	__u32 word;      /* enum auth_mode in bits 28-31 and its end, as in cell.verdict */
	__u32 from;      /* AUTH_ALL: when what else is TCP begins to be dropped, in units of 64 jiffies modulo 2^27 */
};

/* A proven source: an IPv4 address behind 32 ones (no IPv6 address of a source begins so), or the upper half of an IPv6 address. */
struct proof {
	__u64 source; /* 0: none */
	__u32 until;  /* units of 64 jiffies, modulo 2^32 */
	__u32 reserved;
};

struct proof_bucket {
	struct proof proof[AUTH_BUCKET];
};
_Static_assert(sizeof(struct proof_bucket) == 64, "a bucket is one cache line");

/* One CPU's own. */
struct auth_cpu {
	__u64 busy_until; /* ns: answers have used up the time until then, see within_allowance() */
	__u64 proofs;     /* sources that became proven by an answer to a challenge */
	__u64 learned;    /* and by what our hosts have sent them */
	__u64 evicted;    /* proofs that were in force and had to go */
	__u64 unanswered; /* SYNs that were dropped because the allowance for answers was used up */
	__u64 reserved[3];
};
_Static_assert(sizeof(struct auth_cpu) == 64, "no two CPUs share a cache line");

#endif
