/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Packets within packets. One step goes from a tunnel's header to the transport header of the packet inside, or to the header
 * of a tunnel that comes before any addresses. What is inside replaces what is outside only once its addresses are known.
 * Which way leads from one step to the next stands in packet.at and packet.next.
 */
#ifndef WEIR_TUNNEL_H
#define WEIR_TUNNEL_H

#include "parse.h"

#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING 0x4000 /* RFC 1701, which nobody may send any more */
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION 0x0007

#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057
#define PPP_MPLS 0x0281
#define PPP_MPLS_MANY 0x0283

#define GTPU_EXTENSIONS 4 /* that are walked over */
#define L2TP_OFFSET 255   /* the longest that is believed */

/* An ethertype from the wire; those that are lengths are nobody's. */
static __always_inline int wire_type(__be16 type)
{
	return bpf_ntohs(type) < ETH_P_802_3_MIN ? -REASON_NOT_IP : bpf_ntohs(type);
}

/* Whether an Ethernet header at this offset from the cursor would carry something that may be there. */
static __always_inline bool looks_like_ethernet(const struct cursor *c, __u32 at)
{
	__u8 *eth = c->at + at;

	if ((void *)(eth + 15) > c->end)
		return false;
	switch (bpf_ntohs(*(__be16 *)(eth + 12))) {
	case ETH_P_IP:
		return eth[14] >> 4 == 4;
	case ETH_P_IPV6:
		return eth[14] >> 4 == 6;
	case ETH_P_8021Q:
	case ETH_P_8021AD:
	case ETH_P_QINQ_OLD:
	case ETH_P_MPLS_UC:
	case ETH_P_MPLS_MC:
	case ETH_P_ARP:
	case ETH_P_RARP:
	case ETH_P_PPP_DISC:
	case ETH_P_PPP_SES:
		return true;
	}
	return false;
}

/* Whether an IP header at the cursor is possible in what the packet still has on the wire. */
static __always_inline bool may_be_ip(const struct cursor *c, const struct packet *p)
{
	__u32 left = p->length - p->at, header, total;
	__u8 *b = c->at;

	if ((void *)(b + 6) > c->end)
		return false;
	switch (b[0] >> 4) {
	case 4:
		header = (b[0] & 0xf) * 4;
		total = bpf_ntohs(*(__be16 *)(b + 2));
		return header >= sizeof(struct iphdr) && total >= header && total <= left;
	case 6:
		return sizeof(struct ipv6hdr) + bpf_ntohs(*(__be16 *)(b + 4)) <= left;
	}
	return false;
}

/*
 * What is behind an MPLS label stack, which nothing in the packet says: an Ethernet frame, with or without a control word
 * before it (RFC 4385), or IP. A first nibble of 0 may be that of a control word or of an address of 48 bits; 4 or 6 may be
 * such an address' too, when there cannot be an IP packet.
 */
static __always_inline int open_pseudowire(struct cursor *c, const struct packet *p)
{
	__u8 *first = c->at;

	if ((void *)(first + 1) > c->end)
		return -REASON_NOT_IP;
	if (*first >> 4 == 0 && looks_like_ethernet(c, 4)) {
		c->at += 4;
		return LAYER_ETHERNET;
	}
	if (looks_like_ethernet(c, 0) && !may_be_ip(c, p))
		return LAYER_ETHERNET;
	return LAYER_IP;
}

/* RFC 2516 section 4: version 1, type 1, code 0, session, length. */
static __always_inline int open_pppoe(struct cursor *c)
{
	__u8 *header = take(c, 6);

	if (!header)
		return -REASON_SHORT_TUNNEL;
	return header[0] == 0x11 && header[1] == 0 ? LAYER_PPP : -REASON_NOT_IP;
}

/* draft-foschiano-erspan-03 sections 4.2 and 4.3; type I has no header. */
static __always_inline int open_erspan(struct cursor *c, __u16 type, bool sequence)
{
	__u8 *header;

	if (type == ETH_P_ERSPAN) {
		if (!sequence)
			return LAYER_ETHERNET;
		header = take(c, 8);
		if (!header)
			return -REASON_SHORT_TUNNEL;
		return header[0] >> 4 == 1 ? LAYER_ETHERNET : -REASON_NOT_IP;
	}
	header = take(c, 12);
	if (!header)
		return -REASON_SHORT_TUNNEL;
	if (header[0] >> 4 != 2)
		return -REASON_NOT_IP;
	if (header[11] & 1 && !take(c, 8)) /* the platform's own part */
		return -REASON_SHORT_TUNNEL;
	switch (header[10] >> 2 & 0x1f) { /* what was mirrored */
	case 0:
		return LAYER_ETHERNET;
	case 2:
		return LAYER_IP;
	}
	return -REASON_NOT_IP;
}

/* RFC 2784, 2890 */
static __always_inline int open_gre(struct cursor *c)
{
	__be16 *header = take(c, 4);
	__u16 flags, type;

	if (!header)
		return -REASON_SHORT_TUNNEL;
	flags = bpf_ntohs(header[0]);
	type = bpf_ntohs(header[1]);
	if (flags & (GRE_ROUTING | GRE_VERSION))
		return -REASON_NOT_IP;
	if ((flags & GRE_CHECKSUM && !take(c, 4)) || (flags & GRE_KEY && !take(c, 4)) || (flags & GRE_SEQUENCE && !take(c, 4)))
		return -REASON_SHORT_TUNNEL;
	if (type == ETH_P_ERSPAN || type == ETH_P_ERSPAN2) {
		if (!(settings.tunnels & TUNNEL_ERSPAN))
			return -REASON_NOT_IP;
		return open_erspan(c, type, flags & GRE_SEQUENCE);
	}
	if (!(settings.tunnels & TUNNEL_GRE))
		return -REASON_NOT_IP;
	return type == ETH_P_TEB ? LAYER_ETHERNET : wire_type(header[1]);
}

/* RFC 7348 section 5, and the next protocol of draft-ietf-nvo3-vxlan-gpe where the header names one. */
static __always_inline int open_vxlan(struct cursor *c)
{
	__u8 *header = take(c, 8);

	if (!header)
		return -REASON_SHORT_TUNNEL;
	if (!(header[0] & 0x08)) /* no valid network identifier */
		return -REASON_NOT_IP;
	if (!(header[0] & 0x04))
		return LAYER_ETHERNET;
	switch (header[3]) {
	case 1:
		return ETH_P_IP;
	case 2:
		return ETH_P_IPV6;
	case 3:
		return LAYER_ETHERNET;
	}
	return -REASON_NOT_IP;
}

/* RFC 8926 section 3.4. Control packets are not looked into. */
static __always_inline int open_geneve(struct cursor *c)
{
	__u8 *header = take(c, 8);
	__be16 type;

	if (!header)
		return -REASON_SHORT_TUNNEL;
	if (header[0] >> 6 || header[1] & 0x80)
		return -REASON_NOT_IP;
	type = *(__be16 *)(header + 2);
	if (!take(c, (header[0] & 0x3f) * 4))
		return -REASON_SHORT_TUNNEL;
	return type == bpf_htons(ETH_P_TEB) ? LAYER_ETHERNET : wire_type(type);
}

/* 3GPP TS 29.281 section 5: version 1, GTP and not GTP', and a user's packet (G-PDU). */
static __always_inline int open_gtpu(struct cursor *c)
{
	__u8 *header = take(c, 8), *optional;
	__u8 next = 0;

	if (!header)
		return -REASON_SHORT_TUNNEL;
	if (header[0] >> 4 != 3 || header[1] != 255)
		return -REASON_NOT_IP;
	if (!(header[0] & 7))
		return LAYER_IP;
	optional = take(c, 4);
	if (!optional)
		return -REASON_SHORT_TUNNEL;
	if (header[0] & 4)
		next = optional[3];
#pragma unroll
	for (int n = 0; n < GTPU_EXTENSIONS; n++) {
		__u8 *first = c->at; /* the header's length in words; its last byte says what follows it */

		if (!next)
			return LAYER_IP;
		if ((void *)(first + 1) > c->end || !*first || !take(c, *first * 4))
			return -REASON_SHORT_TUNNEL;
		next = ((__u8 *)c->at)[-1];
	}
	return next ? -REASON_SHORT_TUNNEL : LAYER_IP;
}

/*
 * RFC 3931 section 4.1, from the session on. Between it and the Ethernet frame stand a cookie of 0, 4 or 8 bytes and a
 * sublayer of 0 or 4, as the two ends have agreed: where the frame begins is found by what looks like one.
 */
static __always_inline int open_l2tpv3(struct cursor *c)
{
	__be32 *session = take(c, 4);
	__u32 skip;

	if (!session)
		return -REASON_SHORT_TUNNEL;
	if (!*session) /* control */
		return -REASON_NOT_IP;
	if (looks_like_ethernet(c, 4)) /* what Linux does first */
		skip = 4;
	else if (looks_like_ethernet(c, 0))
		skip = 0;
	else if (looks_like_ethernet(c, 8))
		skip = 8;
	else if (looks_like_ethernet(c, 12))
		skip = 12;
	else
		return -REASON_NOT_IP;
	return take(c, skip) ? LAYER_ETHERNET : -REASON_SHORT_TUNNEL;
}

/* RFC 2661 section 3.1, and RFC 3931 section 4.1.2 for version 3 over the same port. Control messages are not looked into. */
static __always_inline int open_l2tp(struct cursor *c)
{
	__be16 *header = take(c, 2), *offset;
	__u16 flags;

	if (!header)
		return -REASON_SHORT_TUNNEL;
	flags = bpf_ntohs(*header);
	if (flags & 0x8000) /* control */
		return -REASON_NOT_IP;
	if ((flags & 0xf) == 3 && settings.tunnels & TUNNEL_L2TPV3)
		return take(c, 2) ? open_l2tpv3(c) : -REASON_SHORT_TUNNEL;
	if ((flags & 0xf) != 2)
		return -REASON_NOT_IP;
	if ((flags & 0x4000 && !take(c, 2)) || !take(c, 4) || (flags & 0x0800 && !take(c, 4))) /* length; ids; sequence numbers */
		return -REASON_SHORT_TUNNEL;
	if (flags & 0x0200) {
		offset = take(c, 2);
		if (!offset || bpf_ntohs(*offset) > L2TP_OFFSET || !take(c, bpf_ntohs(*offset) & L2TP_OFFSET))
			return -REASON_SHORT_TUNNEL;
	}
	return LAYER_PPP;
}

/* Behind the header that packet.next names. Returns an ethertype or enum layer for what is there, or -reason. */
static __always_inline int open_tunnel(struct cursor *c, const struct packet *p)
{
	switch (p->next) {
	case LAYER_PSEUDOWIRE:
		return open_pseudowire(c, p);
	case LAYER_PPPOE:
		return open_pppoe(c);
	case LAYER_GRE:
		return open_gre(c);
	case LAYER_L2TPV3:
		return open_l2tpv3(c);
	case ETH_P_IP:
	case ETH_P_IPV6:
		return p->next;
	}
	if (!take(c, 8)) /* UDP */
		return -REASON_SHORT_TUNNEL;
	switch (p->next) {
	case LAYER_VXLAN:
		return open_vxlan(c);
	case LAYER_GENEVE:
		return open_geneve(c);
	case LAYER_GTPU:
		return open_gtpu(c);
	case LAYER_L2TP:
		return open_l2tp(c);
	}
	return -REASON_NOT_IP;
}

/* Behind a PPP header, whose first two bytes may be left out, as may the first of the number (RFC 1661 section 6.5, RFC 1662). */
static __always_inline int parse_ppp(struct cursor *c, struct packet *p)
{
	__u8 *header = c->at;
	__u16 number;

	if ((void *)(header + 2) > c->end)
		return -REASON_SHORT_TUNNEL;
	if (header[0] == 0xff && header[1] == 0x03) {
		take(c, 2);
		forget(c, p);
		header = c->at;
		if ((void *)(header + 2) > c->end)
			return -REASON_SHORT_TUNNEL;
	}
	number = header[0];
	if (!(number & 1))
		number = number << 8 | header[1];
	take(c, header[0] & 1 ? 1 : 2);
	forget(c, p);
	switch (number) {
	case PPP_IPV4:
		return ETH_P_IP;
	case PPP_IPV6:
		return ETH_P_IPV6;
	case PPP_MPLS:
	case PPP_MPLS_MANY:
		return ETH_P_MPLS_UC;
	}
	return -REASON_NOT_IP;
}

/* From behind a tunnel's header to an ethertype, behind any tags. */
static __always_inline int parse_inside(struct cursor *c, struct packet *p)
{
	switch (p->next) {
	case LAYER_ETHERNET:
		return parse_ethernet(c, p);
	case LAYER_PPP:
		return parse_ppp(c, p);
	case LAYER_IP:
		return parse_version(c);
	}
	return parse_tags(c, p, p->next);
}

/* What a packet leaves by whose inside cannot be read: without addresses outside, by the reason itself. */
static __always_inline enum reason stay_outside(struct packet *p, enum reason reason)
{
	p->next = LAYER_NONE;
	if (p->family == FAMILY_NONE)
		return reason;
	if (reason == REASON_TUNNEL_DEPTH)
		p->anomaly = ANOMALY_TUNNEL_DEPTH;
	else if (reason != REASON_NOT_IP && reason != REASON_ARP)
		p->anomaly = ANOMALY_BROKEN_TUNNEL;
	return 0;
}

/* One step. Returns as parse() does. */
static __always_inline enum reason step_inside(void *data, void *end, struct packet *p)
{
	struct cursor c = { .at = data + (p->at & 0x7fff), .end = end, .start = data };
	bool within = p->family != FAMILY_NONE;
	int next = open_tunnel(&c, p);
	enum reason reason;

	if (next < 0)
		return stay_outside(p, -next);
	if (next != LAYER_IP || p->next != LAYER_PSEUDOWIRE) { /* IP behind labels is no tunnel */
		if (p->depth == settings.tunnel_depth)
			return stay_outside(p, REASON_TUNNEL_DEPTH);
		p->depth++;
	}
	p->next = next;
	forget(&c, p);
	next = parse_inside(&c, p);
	p->next = LAYER_NONE;
	reason = parse_network(&c, p, next);
	if (p->next)
		return reason;
	if (within)
		p->neighbour = 0; /* of another link than this */
	return reason ? stay_outside(p, reason) : 0;
}

#endif
