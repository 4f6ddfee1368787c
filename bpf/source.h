/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Lists of sources: whose packets pass whatever rules say, and whose are dropped. Of several prefixes that hold an address, the
 * longest decides. IPv4 takes one look into a table of all networks of 24 bits, and one more where the list has longer prefixes.
 */
#ifndef WEIR_SOURCE_H
#define WEIR_SOURCE_H

#include "maps.h"
#include "locate.h"

static __always_inline __u32 ones(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	return ((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL) * 0x0101010101010101ULL >> 56;
}

static __always_inline int listed4(__u32 generation, __u32 address)
{
	__u32 index = generation << 18 | address >> 14, at = (address >> 8 & 31) * 2, kind;
	__u64 *any = bpf_map_lookup_elem(&sources_any, &index), leaves;
	struct sources4 *networks;
	struct source_leaf *leaf;

	if (!any || !(*any & 1ULL << (address >> 8 & 63)))
		return LISTED_NONE;
	index = generation << SOURCES4_LOG2 | address >> (32 - SOURCES4_LOG2);
	networks = bpf_map_lookup_elem(&sources4, &index);
	if (!networks)
		return LISTED_NONE;
	kind = networks->kinds >> at & 3;
	if (kind != LISTED_LEAF)
		return kind;
	leaves = networks->kinds & networks->kinds >> 1 & 0x5555555555555555ULL;
	index = generation * settings.source_leaves + networks->leaves + ones(leaves & ((1ULL << at) - 1));
	leaf = bpf_map_lookup_elem(&source_leaves, &index);
	return leaf ? leaf->kinds[address >> 5 & 7] >> ((address & 31) * 2) & 3 : LISTED_NONE;
}

static __always_inline struct rule_entry *find_source(__u32 index, __u64 tag)
{
	struct rule_bucket *bucket = bpf_map_lookup_elem(&source_table, &index);

	if (!bucket)
		return 0;
#pragma unroll
	for (int i = 0; i < RULE_BUCKET; i++) {
		if (bucket->entry[i].tag == tag)
			return &bucket->entry[i];
	}
	return 0;
}

/* Whether the prefix of the n-th length that the address begins with is listed. Hashed as rules are, see hash_key(). */
static __always_inline int listed_length(const struct source_set *set, __u32 generation, const struct address *address, __u32 n)
{
	__u64 high = address->high & set->mask[n].high, low = address->low & set->mask[n].low, a, b;
	__u64 h0 = (__u32)high, h1 = high >> 32, l0 = (__u32)low, l1 = low >> 32;
	struct rule_entry *entry;

	a = (h0 + set->secret[0][0]) * (h1 + set->secret[0][1]) + (l0 + set->secret[0][2]) * (l1 + set->secret[0][3]) +
	    (n + set->secret[0][4]) * set->secret[0][5];
	b = (h0 + set->secret[1][0]) * (h1 + set->secret[1][1]) + (l0 + set->secret[1][2]) * (l1 + set->secret[1][3]) +
	    (n + set->secret[1][4]) * set->secret[1][5];
	a |= !a;
	entry = find_source(generation * settings.source_buckets + (b >> 32 & set->bucket_mask), a);
	if (!entry)
		entry = find_source(generation * settings.source_buckets + (b >> 45 & set->bucket_mask), a);
	return entry ? entry->word : LISTED_NONE;
}

/* A global function, which the verifier looks at once. */
__noinline int listed6(__u32 generation)
{
	__u32 id = bpf_get_smp_processor_id(), bit, index, lengths;
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);
	struct source_set *set;
	struct classes *found;
	int kind;

	generation &= 1;
	set = bpf_map_lookup_elem(&source_sets, &generation);
	if (!p || !set || !set->has_ipv6)
		return LISTED_NONE;
	bit = filter6_bit(bpf_be64_to_cpu(p->source.high) >> 32);
	index = generation << 14 | bit >> 2;
	found = bpf_map_lookup_elem(&source_lengths, &index);
	if (!found)
		return LISTED_NONE;
	lengths = found->of[bit & 3];
#pragma unroll
	for (int n = 0; n < SOURCE_LENGTHS; n++) {
		if (!(lengths & 1U << n))
			continue;
		kind = listed_length(set, generation, &p->source, n);
		if (kind)
			return kind;
	}
	return LISTED_NONE;
}

/* What the lists say of the packet's source: enum listed. */
static __always_inline int listed(const struct packet *p, struct cpu *cpu)
{
	__u32 generation = cpu->filter >> FILTER_SOURCES_GENERATION & 1;
	int kind = p->family == FAMILY_IPV4 ? listed4(generation, p->source4) : listed6(generation);

	if (kind == LISTED_ALLOW)
		cpu->source_allowed += p->packets;
	else if (kind == LISTED_BLOCK)
		cpu->source_blocked += p->packets;
	return kind;
}

#endif
