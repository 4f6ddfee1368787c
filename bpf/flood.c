// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A test and benchmark tool, no part of the data plane: turns one template frame into a stream of different packets.
 *
 * Run by BPF_PROG_TEST_RUN. In live frame mode it redirects each packet to an interface; without an interface it hands
 * each packet to the program under test by a tail call, so that floor and subject are measured over the same random hosts.
 * The buffer comes back as the last run left it, so every changing field is written whole, from settings and generator only.
 * So is what a router on the way changes: its stack has written into the very page that comes back.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>

#include "headers/bpf_helpers.h"
#include "headers/bpf_endian.h"

char flood_license[] SEC("license") = "Dual BSD/GPL";

enum spread {
	SPREAD_FIXED,
	SPREAD_RANDOM,
	SPREAD_SWEEP,
	SPREAD_COUNT,
};

/* An address: the bits under the mask change, the others are those of base. IPv4 uses the first word. Network byte order. */
struct address {
	enum spread spread;
	__be32 base[4];
	__be32 mask[4];
};

/* A port: the bits under the mask are random. */
struct port {
	__be16 base;
	__be16 mask;
};

struct settings {
	__u32 ifindex;       /* where packets go; 0: to the program under test */
	__u32 family;        /* 4 or 6 */
	__u32 network;       /* offset of the IP header */
	__u32 transport;     /* offset of the ports; 0: none to write */
	__u32 checksum;      /* offset of the transport checksum; 0: none to write */
	__u32 network_sum;   /* 16-bit sum of the IPv4 header without addresses and checksum, as loaded from memory */
	__u32 transport_sum; /* the same of pseudo header, transport header and payload without addresses, ports and checksum */
	__u32 hops;          /* time to live, or hop limit */
	__be16 macs[6];      /* destination and source, the first of the frame */
	struct address source;
	struct address destination;
	struct port source_port;
	struct port destination_port;
};

/* One runner at a time, so plain memory will do; mapped by user space. */
struct state {
	__u64 random;  /* generator state, not 0 */
	__u64 allowed; /* packets that may be made in all; the rest of a run is dropped here */
	__u64 made;
	__u64 first;   /* CLOCK_MONOTONIC ns of the first packet */
};

const volatile struct settings settings;
struct state state;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} subject SEC(".maps");

struct packet {
	void *data;
	void *end;
	__u32 sum; /* of the addresses and ports written so far */
};

/* xorshift64 of Marsaglia 2003 with the multiplier of xorshift64*; the high half is the better one. */
static __always_inline __u32 next_random(void)
{
	__u64 x = state.random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	state.random = x;
	return (x * 2685821657736338717ULL) >> 32;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 add_word(__u32 sum, __u32 word)
{
	return sum + (word & 0xffff) + (word >> 16);
}

/* Word i of an address of `words` words. A sweep counts in the last word, which is enough for 2^32 addresses. */
static __always_inline __be32 make_word(const volatile struct address *a, int i, int words)
{
	__be32 mask = a->mask[i];

	if (a->spread == SPREAD_FIXED || !mask)
		return a->base[i];
	if (a->spread == SPREAD_RANDOM)
		return (a->base[i] & ~mask) | (next_random() & mask);
	if (i == words - 1)
		return (a->base[i] & ~mask) | (bpf_htonl((__u32)state.made) & mask);
	return a->base[i];
}

static __always_inline int write_macs(struct packet *p)
{
	__be16 *macs = p->data;

	if ((void *)(macs + 6) > p->end)
		return -1;
#pragma unroll
	for (int i = 0; i < 6; i++)
		macs[i] = settings.macs[i];
	return 0;
}

static __always_inline int write_ipv4(struct packet *p)
{
	struct iphdr *ip = p->data + settings.network;

	if ((void *)(ip + 1) > p->end)
		return -1;
	ip->ttl = settings.hops;
	ip->saddr = make_word(&settings.source, 0, 1);
	ip->daddr = make_word(&settings.destination, 0, 1);
	p->sum = add_word(add_word(0, ip->saddr), ip->daddr);
	ip->check = ~fold(settings.network_sum + p->sum);
	return 0;
}

static __always_inline int write_ipv6(struct packet *p)
{
	struct ipv6hdr *ip = p->data + settings.network;
	__be32 source, destination;

	if ((void *)(ip + 1) > p->end)
		return -1;
	ip->hop_limit = settings.hops;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		source = make_word(&settings.source, i, 4);
		destination = make_word(&settings.destination, i, 4);
		ip->saddr.in6_u.u6_addr32[i] = source;
		ip->daddr.in6_u.u6_addr32[i] = destination;
		p->sum = add_word(add_word(p->sum, source), destination);
	}
	return 0;
}

static __always_inline __be16 make_port(const volatile struct port *port)
{
	if (!port->mask)
		return port->base;
	return (port->base & ~port->mask) | ((__be16)next_random() & port->mask);
}

static __always_inline int write_ports(struct packet *p)
{
	__be16 *ports = p->data + settings.transport;

	if ((void *)(ports + 2) > p->end)
		return -1;
	ports[0] = make_port(&settings.source_port);
	ports[1] = make_port(&settings.destination_port);
	p->sum += ports[0] + ports[1];
	return 0;
}

static __always_inline int write_checksum(struct packet *p)
{
	__u16 *check = p->data + settings.checksum;
	__u16 value;

	if ((void *)(check + 1) > p->end)
		return -1;
	value = ~fold(settings.transport_sum + p->sum);
	*check = value ? value : 0xffff; /* 0 would mean "none" in UDP; to the others both are the same number */
	return 0;
}

static __always_inline int write_packet(struct packet *p)
{
	if (settings.ifindex && write_macs(p) < 0)
		return -1;
	if ((settings.family == 4 ? write_ipv4(p) : write_ipv6(p)) < 0)
		return -1;
	if (settings.transport && write_ports(p) < 0)
		return -1;
	if (settings.checksum && write_checksum(p) < 0)
		return -1;
	return 0;
}

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	struct packet p = {
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};

	if (state.made >= state.allowed)
		return XDP_DROP;
	if (write_packet(&p) < 0)
		return XDP_ABORTED;
	if (!state.made)
		state.first = bpf_ktime_get_ns();
	state.made++;
	if (settings.ifindex)
		return bpf_redirect(settings.ifindex, 0);
	bpf_tail_call(ctx, &subject, 0);
	return XDP_ABORTED; /* no program under test */
}
