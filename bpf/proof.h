/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The table of proven sources. It has a fixed size; a source enters only once it has shown that it gets what is sent to it, so
 * forged sources cannot fill it. Whoever has many addresses can: then the proof that would end first makes room.
 */
#ifndef WEIR_PROOF_H
#define WEIR_PROOF_H

#include "maps.h"

/* IPv6: the whole /64, in which a host chooses its addresses as it likes. */
static __always_inline __u64 source_key(__u8 family, __u32 address4, const struct address *address)
{
	return family == FAMILY_IPV4 ? 0xffffffffULL << 32 | address4 : address->high;
}

/* With a secret, so that nobody can choose sources which drive each other out. */
static __always_inline struct proof_bucket *bucket_of(const struct auth *a, __u64 key)
{
	__u64 h = (key ^ a->table_key) * 0x9e3779b97f4a7c15ULL;
	__u32 index;

	h = (h ^ h >> 32 ^ a->table_key) * 0x94d049bb133111ebULL;
	index = h >> 32 & (settings.auth_buckets - 1);
	return bpf_map_lookup_elem(&proofs, &index);
}

/* Whether the source is proven. One that goes on sending stays so. */
static __always_inline bool is_proven(const struct auth *a, __u64 key)
{
	struct proof_bucket *bucket = bucket_of(a, key);
	__u32 now = bpf_jiffies64() >> VERDICT_UNIT_SHIFT;

	if (!bucket || !key)
		return false;
#pragma unroll
	for (int i = 0; i < AUTH_BUCKET; i++) {
		struct proof *proof = &bucket->proof[i];
		__s32 left = proof->until - now;

		if (proof->source != key)
			continue;
		if (left <= 0)
			return false;
		if (left < (__s32)(a->lifetime / 2))
			proof->until = now + a->lifetime;
		return true;
	}
	return false;
}

/*
 * Enters a source. Returns 1 when it was not there. CPUs may do so at the same time: the worst is a source that has to prove
 * itself again.
 */
static __always_inline __u32 prove(const struct auth *a, struct auth_cpu *own, __u64 key)
{
	struct proof_bucket *bucket = bucket_of(a, key);
	__u32 now = bpf_jiffies64() >> VERDICT_UNIT_SHIFT, n = 0;
	__s32 least = 0x7fffffff;

	if (!bucket || !key)
		return 0;
#pragma unroll
	for (int i = 0; i < AUTH_BUCKET; i++) {
		__s32 left = bucket->proof[i].source ? (__s32)(bucket->proof[i].until - now) : -1;

		if (bucket->proof[i].source == key) {
			bucket->proof[i].until = now + a->lifetime;
			return left <= 0;
		}
		if (left < least) {
			least = left < 0 ? 0 : left; /* of those that are over, the first */
			n = i;
		}
	}
	if (least > 0)
		own->evicted++;
	n &= AUTH_BUCKET - 1;
	bucket->proof[n].until = now + a->lifetime;
	bucket->proof[n].source = key;
	return 1;
}

#endif
