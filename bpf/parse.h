/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a frame to its addresses, ports and flags. Parsers take a cursor, move it behind what they have read and return what
 * comes next, or a negative reason; they decide nothing. Multi-byte header fields are network byte order until they are
 * stored in struct packet, which is host byte order but for the addresses.
 */
#ifndef WEIR_PARSE_H
#define WEIR_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include "headers/bpf_endian.h"
#include "headers/bpf_helpers.h"
#include "abi.h"
#include "maps.h"

#define ETH_P_QINQ_OLD 0x9100
#define PROTOCOL_UNKNOWN 255

#define NEXT_UNCLEAR 0x10000 /* no ethertype: what is behind MPLS labels takes a closer look */

/* What packet.next may be besides an ethertype: these are lower than any. The first ones are headers that hide another packet. */
enum layer {
	LAYER_NONE,
	LAYER_PSEUDOWIRE, /* what is behind an MPLS label stack */
	LAYER_PPPOE,
	LAYER_GRE,
	LAYER_VXLAN, /* from here to L2TP: from the UDP header on */
	LAYER_GENEVE,
	LAYER_GTPU,
	LAYER_L2TP,
	LAYER_L2TPV3,
	LAYER_ETHERNET,
	LAYER_PPP,
	LAYER_IP, /* of whatever version */
};

#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* Of packet.fragment; Go: traffic.FragmentIs and those beside it. */
#define FRAGMENT_DONT 1
#define FRAGMENT_IS 2 /* one other than the first */
#define FRAGMENT_FIRST 4
#define FRAGMENT_LAST 8

struct cursor {
	void *at;
	void *end;
	void *start;
};

/* The next n bytes, or 0 when the frame ends before. */
static __always_inline void *take(struct cursor *c, __u32 n)
{
	void *here = c->at;

	if (here + n > c->end)
		return 0;
	c->at = here + n;
	return here;
}

/*
 * Makes the verifier forget how the cursor got where it is, by way of the map: each way through tags, labels and extension
 * headers would otherwise be a state of its own, and there are millions. Only those ways pay for it.
 */
static __always_inline void forget(struct cursor *c, struct packet *p)
{
	p->at = c->at - c->start;
	asm volatile("" ::: "memory");
	c->at = c->start + (p->at & 0x7fff);
}

/* Behind VLAN tags, if type is that of one. Returns the ethertype that they end with in host byte order, or -reason. */
static __always_inline int parse_tags(struct cursor *c, struct packet *p, __u16 type)
{
#pragma unroll
	for (int depth = 0; depth <= VLAN_DEPTH; depth++) {
		__be16 *tag;

		if (type != ETH_P_8021Q && type != ETH_P_8021AD && type != ETH_P_QINQ_OLD)
			return type;
		if (depth == VLAN_DEPTH)
			return -REASON_VLAN_DEPTH;
		tag = take(c, 4);
		if (!tag)
			return -REASON_SHORT_VLAN;
		type = bpf_ntohs(tag[1]);
		forget(c, p);
	}
	return type;
}

/* Behind the Ethernet header and its VLAN tags. */
static __always_inline int parse_ethernet(struct cursor *c, struct packet *p)
{
	struct ethhdr *eth = take(c, sizeof(*eth));

	if (!eth)
		return -REASON_SHORT_ETHERNET;
	return parse_tags(c, p, bpf_ntohs(eth->h_proto));
}

/* The ethertype of the IP version that the first nibble stands for, or -reason. */
static __always_inline int parse_version(const struct cursor *c)
{
	__u8 *first = c->at;

	if ((void *)(first + 1) > c->end)
		return -REASON_NOT_IP;
	switch (*first >> 4) {
	case 4:
		return ETH_P_IP;
	case 6:
		return ETH_P_IPV6;
	}
	return -REASON_NOT_IP;
}

/* Behind an MPLS label stack. Returns the ethertype of what is there, NEXT_UNCLEAR, or -reason. */
static __always_inline int parse_mpls(struct cursor *c, struct packet *p)
{
#pragma unroll /* 5.10 takes no loop whose end falls through into its head, as the compiler lays them out */
	for (int depth = 0; depth < MPLS_DEPTH; depth++) {
		__u8 *label = take(c, 4);

		if (!label)
			return -REASON_SHORT_MPLS;
		forget(c, p);
		if (label[2] & 1) /* bottom of the stack, RFC 3032 section 2.1 */
			return settings.tunnels & TUNNEL_PSEUDOWIRE ? NEXT_UNCLEAR : parse_version(c);
	}
	return -REASON_MPLS_DEPTH;
}

/* The addresses are about to be replaced by those inside a tunnel, which has a transport header of its own. */
static __always_inline void forget_outside(struct packet *p)
{
	if (!settings.inner)
		return;
	p->source_port = 0;
	p->destination_port = 0;
	p->tcp_flags = 0;
	p->fragment = 0;
	p->transport_at = 0;
}

/* Fills in addresses and protocol (RFC 791). Returns 1 when a transport header follows, 0 when none does, or -reason. */
static __always_inline int parse_ipv4(struct cursor *c, struct packet *p)
{
	struct iphdr *ip = take(c, sizeof(*ip));
	__u32 header, offset;

	if (!ip)
		return -REASON_SHORT_IPV4;
	header = ip->ihl * 4;
	if (ip->version != 4 || header < sizeof(*ip) || bpf_ntohs(ip->tot_len) < header)
		return -REASON_BAD_IPV4;
	if (!take(c, header - sizeof(*ip)))
		return -REASON_SHORT_IPV4;
	forget_outside(p);
	p->network_at = (void *)ip - c->start;
	p->family = FAMILY_IPV4;
	p->protocol = ip->protocol;
	p->source4 = bpf_ntohl(ip->saddr);
	p->destination4 = bpf_ntohl(ip->daddr);
	offset = bpf_ntohs(ip->frag_off);
	p->fragment = offset & 0x3fff ? FRAGMENT_IS : 0; /* more fragments, or an offset; which, the header says */
	return (offset & 0x1fff) == 0;
}

/* Which part of several a fragment is (RFC 8955 section 4.2.2.12). */
static __always_inline __u8 fragment_bits(__u16 offset, __u16 more)
{
	if (!offset)
		return more ? FRAGMENT_FIRST : 0;
	return more ? FRAGMENT_IS : FRAGMENT_IS | FRAGMENT_LAST;
}

/*
 * Walks the extension headers (RFC 8200 section 4). Returns as parse_ipv4 does; a chain that is cut off or too long is an
 * anomaly, not a reason, because the addresses are known.
 */
static __always_inline int parse_extensions(struct cursor *c, struct packet *p, __u8 next)
{
#pragma unroll
	for (int depth = 0; depth <= EXTENSION_DEPTH; depth++) {
		__u8 *header = c->at;
		__u32 length;

		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
		case IPPROTO_AH:
		case IPPROTO_MH:
		case 139: /* HIP, RFC 7401 */
		case 140: /* Shim6, RFC 5533 */
			break;
		default:
			p->protocol = next;
			return 1;
		}
		p->protocol = PROTOCOL_UNKNOWN;
		if (depth == EXTENSION_DEPTH) {
			p->anomaly = ANOMALY_EXTENSION_DEPTH;
			return 0;
		}
		if ((void *)(header + 8) > c->end) {
			p->anomaly = ANOMALY_SHORT_EXTENSION;
			return 0;
		}
		length = 8;
		if (next == IPPROTO_AH) {
			length = (header[1] + 2) * 4;
		} else if (next == IPPROTO_FRAGMENT) {
			__u16 offset = bpf_ntohs(*(__be16 *)(header + 2));

			if (offset & 0xfff9) /* an offset, or more fragments; neither is a whole datagram, RFC 6946 */
				p->fragment = fragment_bits(offset & 0xfff8, offset & 1);
			if (offset & 0xfff8) {
				p->protocol = header[0];
				return 0;
			}
		} else {
			length = (header[1] + 1) * 8;
		}
		next = header[0];
		if (!take(c, length)) {
			p->anomaly = ANOMALY_SHORT_EXTENSION;
			return 0;
		}
		forget(c, p);
	}
	return 0;
}

static __always_inline int parse_ipv6(struct cursor *c, struct packet *p)
{
	struct ipv6hdr *ip = take(c, sizeof(*ip));

	if (!ip)
		return -REASON_SHORT_IPV6;
	if (ip->version != 6)
		return -REASON_BAD_IPV6;
	forget_outside(p);
	p->network_at = (void *)ip - c->start;
	p->family = FAMILY_IPV6;
	__builtin_memcpy(&p->source, &ip->saddr, sizeof(p->source));
	__builtin_memcpy(&p->destination, &ip->daddr, sizeof(p->destination));
	return parse_extensions(c, p, ip->nexthdr);
}

/* Ports, TCP flags, and whether it is neighbour discovery (RFC 4861). */
static __always_inline void parse_transport(struct cursor *c, struct packet *p)
{
	__u8 *header = c->at;
	__u32 need = 0;

	if (p->protocol == IPPROTO_TCP)
		need = 20;
	else if (p->protocol == IPPROTO_UDP)
		need = 8;
	else if (p->protocol == (p->family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		need = 4;
	p->transport_at = c->at - c->start;
	if (!need)
		return;
	if ((void *)header + 4 > c->end || (void *)header + need > c->end) {
		p->anomaly = ANOMALY_SHORT_TRANSPORT;
		p->transport_at = 0;
		return;
	}
	if (need == 4) {
		p->neighbour = p->family == FAMILY_IPV6 && header[0] >= 133 && header[0] <= 137;
		return;
	}
	p->source_port = bpf_ntohs(*(__be16 *)header);
	p->destination_port = bpf_ntohs(*(__be16 *)(header + 2));
	if (p->protocol == IPPROTO_TCP && (void *)header + 14 <= c->end)
		p->tcp_flags = header[13];
}

/* The tunnel whose header comes next, by an IP packet's protocol and ports; the inner addresses count. */
static __always_inline __u16 tunnel_in(const struct packet *p)
{
	__u16 port = p->destination_port;

	if (p->anomaly)
		return LAYER_NONE;
	switch (p->protocol) {
	case IPPROTO_UDP:
		if (!(settings.tunnels & TUNNEL_UDP))
			break;
#pragma unroll
		for (int i = 0; i < TUNNEL_PORTS; i++) {
			if (settings.vxlan_ports[i] && port == settings.vxlan_ports[i])
				return LAYER_VXLAN;
		}
		if (settings.geneve_port && port == settings.geneve_port)
			return LAYER_GENEVE;
		if (settings.gtpu_port && port == settings.gtpu_port)
			return LAYER_GTPU;
		if (settings.l2tp_port && (port == settings.l2tp_port || p->source_port == settings.l2tp_port))
			return LAYER_L2TP;
		break;
	case IPPROTO_IPIP:
		return settings.tunnels & TUNNEL_IPIP ? ETH_P_IP : LAYER_NONE;
	case IPPROTO_IPV6:
		return settings.tunnels & TUNNEL_IPIP ? ETH_P_IPV6 : LAYER_NONE;
	case IPPROTO_GRE:
		return settings.tunnels & (TUNNEL_GRE | TUNNEL_ERSPAN) ? LAYER_GRE : LAYER_NONE;
	case IPPROTO_L2TP:
		return settings.tunnels & TUNNEL_L2TPV3 ? LAYER_L2TPV3 : LAYER_NONE;
	}
	return LAYER_NONE;
}

/* Leaves what is at the cursor for look_inside(). */
static __always_inline void leave_inside(const struct cursor *c, struct packet *p, __u16 next)
{
	p->at = c->at - c->start;
	p->next = next;
}

/* From behind Ethernet and its tags on; next is the ethertype, or -reason. Returns as parse() does. */
static __always_inline enum reason parse_network(struct cursor *c, struct packet *p, int next)
{
	if (next == ETH_P_MPLS_UC || next == ETH_P_MPLS_MC)
		next = parse_mpls(c, p);
	switch (next) {
	case ETH_P_IP:
		next = parse_ipv4(c, p);
		break;
	case ETH_P_IPV6:
		next = parse_ipv6(c, p);
		break;
	case ETH_P_ARP:
	case ETH_P_RARP:
		return REASON_ARP;
	case NEXT_UNCLEAR:
		if (settings.tunnels & TUNNEL_PSEUDOWIRE)
			leave_inside(c, p, LAYER_PSEUDOWIRE);
		return REASON_NOT_IP;
	case ETH_P_PPP_SES:
		if (settings.tunnels & TUNNEL_PPPOE)
			leave_inside(c, p, LAYER_PPPOE);
		return REASON_NOT_IP;
	default:
		return next < 0 ? -next : REASON_NOT_IP;
	}
	if (next < 0)
		return -next;
	if (!next)
		return 0;
	parse_transport(c, p);
	if (settings.inner)
		leave_inside(c, p, tunnel_in(p));
	return 0;
}

/*
 * The whole frame. Returns 0 when the addresses are known, else the reason why they are not. Where there is more inside that
 * is to be looked into, p->next says what.
 */
static __always_inline enum reason parse(struct cursor *c, struct packet *p)
{
	return parse_network(c, p, parse_ethernet(c, p));
}

#endif
