/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Counting: a packet in its host's cell, a flow in the bitmap, an exit by its reason. */
#ifndef WEIR_ACCOUNT_H
#define WEIR_ACCOUNT_H

#include "maps.h"
#include "parse.h"

static __always_inline struct cell *cell_of(__u32 cpu, enum direction direction, __u32 slot)
{
	__u32 index = (cpu * DIRECTION_COUNT + direction) * settings.slots + slot;

	return bpf_map_lookup_elem(&cells, &index);
}

/* 64 well-mixed bits of who talks to whom. Seeded at load, so that nobody outside can aim at collisions. */
static __always_inline __u64 flow_hash(const struct packet *p)
{
	__u64 ports = (__u64)p->source_port << 32 | (__u32)p->destination_port << 8 | p->protocol;
	__u64 h = settings.flow_seed;

	if (p->family == FAMILY_IPV4) {
		h ^= (__u64)p->source4 << 32 | p->destination4;
	} else {
		h ^= p->source.high;
		h = (h ^ h >> 32) * 0x9e3779b97f4a7c15ULL + p->source.low;
		h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ULL + p->destination.high;
		h = (h ^ h >> 32) * 0x94d049bb133111ebULL + p->destination.low;
	}
	h = (h ^ h >> 32) * 0x9e3779b97f4a7c15ULL + ports;
	h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ h >> 32) * 0x94d049bb133111ebULL;
	return h ^ h >> 32;
}

/* Sets the flow's bit; returns 1 when it was clear, which makes this the flow's first packet in the interval. */
static __always_inline __u32 new_flow(const struct packet *p, __u32 id, struct cpu *cpu)
{
	__u64 hash = flow_hash(p), bit = 1ULL << (hash & 63);
	__u32 generation = cpu->generation & 1;
	__u32 index = (id * 2 + generation) * FLOW_WORDS + (hash >> (64 - FLOW_BITS_LOG2 + 6));
	__u64 *word = bpf_map_lookup_elem(&flows, &index);

	if (!word || *word & bit)
		return 0;
	*word |= bit;
	cpu->flow_bits[generation]++;
	return 1;
}

/* One CPU writes a cell, and one at a time: plain additions do. */
static __always_inline void count_packet(struct cell *cell, const struct packet *p, __u32 flow)
{
	cell->packets += p->packets;
	cell->bytes += p->length;
	cell->flows += flow;
	if (p->protocol == IPPROTO_UDP) {
		cell->udp_packets += p->packets;
		cell->udp_bytes += p->length;
	} else if (p->protocol == IPPROTO_TCP) {
		cell->tcp_packets += p->packets;
		cell->tcp_bytes += p->length;
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
			cell->syn_packets += p->packets;
			cell->syn_bytes += p->length;
		}
	} else if (p->protocol == (p->family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		cell->icmp_packets += p->packets;
		cell->icmp_bytes += p->length;
	}
	if (p->fragment) {
		cell->fragment_packets += p->packets;
		cell->fragment_bytes += p->length;
	}
}

static __always_inline void count_drop(struct cell *cell, const struct packet *p)
{
	cell->dropped_packets += p->packets;
	cell->dropped_bytes += p->length;
}

/* Tells the reader that this host is busy. The reader may clear the word meanwhile: the worst is a bit that is set once more. */
static __always_inline void mark_hot(const struct cell *cell, __u32 packets, __u32 cpu, enum direction direction, __u32 slot)
{
	__u32 index;
	__u64 *word;

	if ((cell->packets & (HOT_PACKETS - 1)) >= packets)
		return;
	index = (cpu * DIRECTION_COUNT + direction) * ((settings.slots + 63) / 64) + (slot >> 6);
	word = bpf_map_lookup_elem(&hot, &index);
	if (word)
		*word |= 1ULL << (slot & 63);
}

static __always_inline void count_anomaly(struct cpu *cpu, const struct packet *p)
{
	__u64 anomaly = p->anomaly;

	if (!anomaly)
		return;
	/* The compiler must test the very register that it indexes with, or the verifier does not see the bound. */
	asm volatile("" : "+r"(anomaly));
	if (anomaly < ANOMALY_COUNT)
		cpu->anomalies[anomaly]++;
}

/* Every packet leaves through here, exactly once. */
static __always_inline enum reason leave(struct cpu *cpu, const struct packet *p, enum reason reason)
{
	__u64 index = (__u64)p->family * REASON_COUNT + reason;
	struct count *count;

	asm volatile("" : "+r"(index)); /* as above */
	if (index >= FAMILY_COUNT * REASON_COUNT)
		return reason;
	count = &cpu->exits[0][0] + index;
	count->packets += p->packets;
	count->bytes += p->length;
	return reason;
}

#endif
