/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* From an address to the slot of its host cells. */
#ifndef WEIR_LOCATE_H
#define WEIR_LOCATE_H

#include "headers/bpf_endian.h"
#include "maps.h"
#include "verdict.h"

#define SLOT_NONE 0xffffffffU /* not ours */
#define SLOT_FULL 0xfffffffeU /* no slot is free */
#define SLOT_FOLDED 0x80000000U /* the slot is that of a prefix that the host is counted in */

#define FOLD_BITS4 24
#define FOLD_BITS6 64

static __always_inline struct address mapped(__u32 address4)
{
	return (struct address){ .low = bpf_cpu_to_be64(0xffff00000000ULL | address4) };
}

static __always_inline __u32 entry4(__u32 index)
{
	__u32 pair = index / 2;
	struct locate_pair *found = bpf_map_lookup_elem(&locate4, &pair);

	return found ? found->entry[index & 1] : 0;
}

/* Takes a free slot for address (a host: bits 128, or a prefix) and writes down whose it is. */
static __always_inline __u32 take_slot(const struct address *address, __u32 bits, __u32 network)
{
	struct owner *owner;
	__u32 slot, index;

	if (bpf_map_pop_elem(&free_slots, &slot))
		return SLOT_FULL;
	index = slot - settings.dense_slots;
	owner = bpf_map_lookup_elem(&owners, &index);
	if (!owner)
		return SLOT_FULL;
	owner->address = *address;
	owner->network = network;
	owner->bits = bits;
	return slot;
}

static __always_inline void return_slot(__u32 slot)
{
	__u32 index = slot - settings.dense_slots;
	struct owner *owner = bpf_map_lookup_elem(&owners, &index);

	if (owner)
		owner->bits = 0;
	bpf_map_push_elem(&free_slots, &slot, BPF_ANY);
}

/* The prefix that the host is counted in while it has no cell of its own; the network itself when there is none. */
static __always_inline struct fold *find_fold(const struct address *host, __u32 network, __u32 bits, struct fold *whole)
{
	struct address key = *host;
	struct fold *fold, fresh = {};

	if (!whole->divided)
		return whole;
	if (bits == FOLD_BITS6)
		key.low = 0;
	else
		key.low &= bpf_cpu_to_be64(~0xffULL);
	fold = bpf_map_lookup_elem(&folds, &key);
	if (fold)
		return fold;
	fresh.slot = take_slot(&key, bits == FOLD_BITS6 ? bits : 96 + bits, network);
	if (fresh.slot == SLOT_FULL)
		return whole;
	if (bpf_map_update_elem(&folds, &key, &fresh, BPF_NOEXIST))
		return_slot(fresh.slot); /* another CPU was faster */
	fold = bpf_map_lookup_elem(&folds, &key);
	return fold ? fold : whole;
}

/*
 * The slot of a host that is not in the hash map: a new one while its prefix has any left to give, else the prefix' own.
 * A flood of random destinations so costs its prefixes' share of slots and no more. Not inlined: it is the rare path.
 */
static __noinline __u32 admit(const struct address *host, __u32 network, __u32 bits, __u32 direction)
{
	struct fold *whole, *fold;
	__u32 slot, *winner;

	if (!host)
		return SLOT_NONE;
	whole = bpf_map_lookup_elem(&networks, &network);
	if (!whole)
		return SLOT_NONE;
	fold = find_fold(host, network, bits, whole);
	/* A new cell would be without the verdict that stands on its prefix. */
	if (fold->hosts >= settings.fold_hosts || prefix_verdict(host, direction))
		return fold->slot | SLOT_FOLDED;
	slot = take_slot(host, 128, network);
	if (slot == SLOT_FULL)
		return fold->slot | SLOT_FOLDED;
	if (!bpf_map_update_elem(&hosts, host, &slot, BPF_NOEXIST)) {
		__sync_fetch_and_add(&fold->hosts, 1);
		return slot;
	}
	return_slot(slot);
	winner = bpf_map_lookup_elem(&hosts, host);
	return winner ? *winner : fold->slot | SLOT_FOLDED;
}

static __always_inline __u32 locate_dynamic(const struct address *host, __u32 network, __u32 bits, __u32 direction)
{
	__u32 *slot = bpf_map_lookup_elem(&hosts, host);

	return slot ? *slot : admit(host, network, bits, direction);
}

static __always_inline __u32 locate_ipv4(__u32 address, __u32 direction)
{
	__u32 rest = address & 0xffff;
	__u32 entry = entry4(address >> 16);

	if (entry >> LOCATE_KIND_SHIFT == LOCATE_TABLE) {
		entry = entry4((entry & LOCATE_VALUE_MASK) + (rest >> 8));
		rest &= 0xff;
		if (entry >> LOCATE_KIND_SHIFT == LOCATE_TABLE) {
			entry = entry4((entry & LOCATE_VALUE_MASK) + rest);
			rest = 0;
		}
	}
	if (entry >> LOCATE_KIND_SHIFT == LOCATE_DENSE)
		return (entry & LOCATE_VALUE_MASK) + rest;
	if (settings.has_dynamic4 && entry >> LOCATE_KIND_SHIFT == LOCATE_DYNAMIC) {
		struct address host = mapped(address);

		return locate_dynamic(&host, entry & LOCATE_VALUE_MASK, FOLD_BITS4, direction);
	}
	return SLOT_NONE;
}

/* The same function makes the filter in Go: networks.Filter6. */
static __always_inline __u32 filter6_bit(__u32 first)
{
	return (first * 0x9e3779b1U) >> 16;
}

static __always_inline __u32 locate_ipv6(const struct address *host, __u32 direction)
{
	__u32 bit, index, *network, *slot;
	struct prefix_key key;
	__u64 *word;

	if (!settings.has_ipv6)
		return SLOT_NONE;
	bit = filter6_bit(bpf_be64_to_cpu(host->high) >> 32);
	index = bit >> 6;
	word = bpf_map_lookup_elem(&filter6, &index);
	if (!word || !(*word & (1ULL << (bit & 63))))
		return SLOT_NONE;
	slot = bpf_map_lookup_elem(&hosts, host);
	if (slot)
		return *slot;
	key.bits = 128;
	key.address = *host;
	network = bpf_map_lookup_elem(&networks6, &key);
	if (!network)
		return SLOT_NONE;
	return admit(host, *network, FOLD_BITS6, direction);
}

#endif
