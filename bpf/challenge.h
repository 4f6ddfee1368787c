/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Turns a SYN into the challenge that answers it: in place, so VLAN tags stay, and never longer than the SYN. */
#ifndef WEIR_CHALLENGE_H
#define WEIR_CHALLENGE_H

#include <linux/tcp.h>
#include "maps.h"
#include "parse.h"
#include "cookie.h"

#define FRAME_LEAST 60 /* shorter ones are padded by the sender (IEEE 802.3) */
#define CHALLENGE_HOPS 64

static __always_inline __u32 add_halves(__u32 sum, const void *at, __u32 halves)
{
	const __u16 *half = at;

#pragma unroll
	for (__u32 i = 0; i < halves; i++)
		sum += half[i];
	return sum;
}

/* The Internet checksum (RFC 1071) of what has been added up. */
static __always_inline __u16 checksum(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

/* addresses is the sum of both, for the pseudo header (RFC 9293 section 3.1). */
static __always_inline void write_tcp(struct tcphdr *tcp, __u32 number, __u32 addresses)
{
	__be16 port = tcp->source;

	tcp->source = tcp->dest;
	tcp->dest = port;
	tcp->seq = bpf_get_prandom_u32();
	tcp->ack_seq = bpf_htonl(number);
	((__be16 *)tcp)[6] = bpf_htons(sizeof(*tcp) / 4 << 12 | TCP_SYN | TCP_ACK);
	tcp->window = bpf_htons(0xffff);
	tcp->check = 0;
	tcp->urg_ptr = 0;
	addresses += bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp));
	tcp->check = checksum(add_halves(addresses, tcp, sizeof(*tcp) / 2));
}

static __always_inline void write_ipv4(struct iphdr *ip)
{
	__be32 source = ip->saddr;

	ip->tos = 0;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(struct tcphdr));
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000); /* not to be fragmented, so that it needs no identification (RFC 6864) */
	ip->ttl = CHALLENGE_HOPS;
	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->check = 0;
	ip->check = checksum(add_halves(0, ip, sizeof(*ip) / 2));
}

static __always_inline void write_ipv6(struct ipv6hdr *ip)
{
	struct in6_addr source = ip->saddr;

	*(__be32 *)ip = bpf_htonl(6U << 28);
	ip->payload_len = bpf_htons(sizeof(struct tcphdr));
	ip->hop_limit = CHALLENGE_HOPS;
	ip->saddr = ip->daddr;
	ip->daddr = source;
}

static __always_inline int write_challenge(void *data, void *end, const struct packet *p, __u32 number)
{
	void *network = data + (p->network_at & 0x7fff);
	struct iphdr *ip4;
	struct ipv6hdr *ip6;
	struct ethhdr *eth = data;
	struct tcphdr *tcp;
	__u8 mac[ETH_ALEN], *padding;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	asm volatile("" : "+r"(network)); /* the very pointer that is tested is written to, not one that is computed again */
	ip4 = network;
	ip6 = network;
	if (p->family == FAMILY_IPV4) {
		tcp = (void *)(ip4 + 1);
		padding = (void *)(tcp + 1);
		if ((void *)padding > end)
			return XDP_DROP;
		write_ipv4(ip4);
		write_tcp(tcp, number, add_halves(0, &ip4->saddr, 4));
#pragma unroll
		for (int i = 0; i < FRAME_LEAST - 54; i++) {
			if ((void *)(padding + i + 1) <= end)
				padding[i] = 0;
		}
	} else {
		tcp = (void *)(ip6 + 1);
		if ((void *)(tcp + 1) > end)
			return XDP_DROP;
		write_ipv6(ip6);
		write_tcp(tcp, number, add_halves(0, &ip6->saddr, 16));
	}
	__builtin_memcpy(mac, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
	return XDP_TX;
}

/*
 * The packet in hand is a SYN that is to be challenged. Nothing may look at the frame by an older pointer after this. A global
 * function, which the verifier looks at once.
 */
__noinline int answer_xdp(struct xdp_md *ctx)
{
	__u32 id = bpf_get_smp_processor_id(), length, number;
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__be32 *sequence;

	if (!p)
		return XDP_DROP;
	sequence = data + (p->transport_at & 0x7fff) + 4;
	if ((void *)(sequence + 1) > end)
		return XDP_DROP;
	number = cookie_beside(bpf_ntohl(*sequence));
	length = p->transport_at + sizeof(struct tcphdr);
	if (length < FRAME_LEAST)
		length = FRAME_LEAST;
	if (p->length > length && bpf_xdp_adjust_tail(ctx, (int)length - (int)p->length))
		return XDP_DROP;
	return write_challenge((void *)(long)ctx->data, (void *)(long)ctx->data_end, p, number);
}

#endif
