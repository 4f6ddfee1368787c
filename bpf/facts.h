/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What rules look at in the packet in hand: its words and classes (abi_rules.h), gathered for packets of hosts under rules only. */
#ifndef WEIR_FACTS_H
#define WEIR_FACTS_H

#include "maps.h"
#include "parse.h"

static __always_inline __u32 class_of(__u32 generation, __u32 at)
{
	__u32 index = generation * (CLASS_COUNT / 4) + (at >> 2);
	struct classes *found = bpf_map_lookup_elem(&rule_classes, &index);

	return found ? found->of[at & 3] : 0;
}

/* Only of fields that have any: the tables are large, and each costs a look into memory. */
static __always_inline void gather_classes(struct facts *f, const struct packet *p, __u32 fields)
{
	__u32 g = f->generation, kinds = f->word[RULE_KINDS], sizes = f->word[RULE_SIZES], class = 0;

	if (fields & HAS_CLASS_SOURCE_PORT)
		class = class_of(g, CLASS_SOURCE_PORT + p->source_port) << 16;
	if (fields & HAS_CLASS_DESTINATION_PORT)
		class |= class_of(g, CLASS_DESTINATION_PORT + p->destination_port);
	f->class[RULE_PORTS] = class;
	class = 0;
	if (fields & HAS_CLASS_LENGTH)
		class = class_of(g, CLASS_LENGTH + (sizes >> 12)) << 12;
	if (fields & HAS_CLASS_TCP_FLAGS)
		class |= class_of(g, CLASS_TCP_FLAGS + (sizes & 0xfff));
	f->class[RULE_SIZES] = class;
	if (fields & HAS_CLASS_KINDS)
		f->class[RULE_KINDS] = class_of(g, CLASS_PROTOCOL + (kinds >> 24)) << 24 |
				       class_of(g, CLASS_ICMP_TYPE + (kinds >> 16 & 0xff)) << 16 |
				       class_of(g, CLASS_ICMP_CODE + (kinds >> 8 & 0xff)) << 8 |
				       class_of(g, CLASS_DSCP + (kinds & 0x3f));
}

static __always_inline void gather_network(struct facts *f, const struct packet *p, void *network, void *end)
{
	__u32 offset, dscp, length, rest;

	if (p->family == FAMILY_IPV4) {
		struct iphdr *ip = network;

		if ((void *)(ip + 1) > end)
			return;
		offset = bpf_ntohs(ip->frag_off);
		f->has = HAS_IPV4;
		f->word[RULE_DESTINATION] = p->destination4;
		f->word[RULE_SOURCE] = p->source4;
		dscp = ip->tos >> 2;
		length = bpf_ntohs(ip->tot_len);
		rest = (__u32)(fragment_bits(offset & 0x1fff, offset & 0x2000) | (offset & 0x4000 ? FRAGMENT_DONT : 0)) << 24;
	} else {
		struct ipv6hdr *ip = network;
		__u32 first;

		if ((void *)(ip + 1) > end)
			return;
		first = bpf_ntohl(*(__be32 *)ip);
		f->has = HAS_IPV6;
		f->word[RULE_DESTINATION] = p->destination.low >> 32;
		f->word[RULE_SOURCE] = p->source.low >> 32;
		f->word[RULE_DESTINATION6] = p->destination.low;
		f->word[RULE_DESTINATION6 + 1] = p->destination.high >> 32;
		f->word[RULE_DESTINATION6 + 2] = p->destination.high;
		f->word[RULE_SOURCE6] = p->source.low;
		f->word[RULE_SOURCE6 + 1] = p->source.high >> 32;
		f->word[RULE_SOURCE6 + 2] = p->source.high;
		dscp = first >> 22 & 0x3f;
		length = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		rest = (__u32)p->fragment << 24 | (first & 0xfffff);
	}
	f->word[RULE_KINDS] = (__u32)p->protocol << 24 | dscp;
	f->word[RULE_SIZES] = length << 12;
	f->word[RULE_REST] = rest;
}

/* What is behind the IP header, as far as it is there. */
static __always_inline void gather_transport(struct facts *f, const struct packet *p, void *data, void *end)
{
	__u8 *header = data + (p->transport_at & 0x7fff);

	f->payload_at = 0;
	if (!p->transport_at)
		return;
	f->payload_at = p->transport_at;
	if (p->protocol == IPPROTO_TCP) {
		if ((void *)(header + 14) > end)
			return;
		f->has |= HAS_PORTS | HAS_TCP;
		f->word[RULE_SIZES] |= (header[12] & 0xf) << 8 | header[13];
		f->payload_at = p->transport_at + (header[12] >> 4) * 4;
	} else if (p->protocol == IPPROTO_UDP) {
		f->has |= HAS_PORTS;
		f->payload_at = p->transport_at + 8;
	} else if (p->protocol == (p->family == FAMILY_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		if ((void *)(header + 2) > end)
			return;
		f->has |= HAS_ICMP;
		f->word[RULE_KINDS] |= (__u32)header[0] << 16 | (__u32)header[1] << 8;
	}
}

#endif
