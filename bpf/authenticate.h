/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Authentication of TCP sources. A SYN of an unknown source is answered in the host's place by a SYN-ACK that acknowledges what
 * was never sent, a cookie. The TCP that has sent the SYN answers by a RST with the cookie as its sequence number (RFC 9293
 * section 3.10.7.3) and sends the SYN again, which then passes. Whoever has forged the source never sees the cookie.
 * Only packets of hosts under authentication come here. The Go side is loader/auth*.go.
 */
#ifndef WEIR_AUTHENTICATE_H
#define WEIR_AUTHENTICATE_H

#include "maps.h"
#include "parse.h"
#include "locate.h"
#include "rule.h"
#include "cookie.h"
#include "proof.h"

#define TCP_FIN 0x01
#define TCP_RST 0x04

#define AUTH_BURST 10000000 /* ns by which answers may be ahead of their rate */

static __always_inline bool auth_guarded(__u32 bit)
{
	__u32 index = bit >> 6 & (AUTH_GUARD_WORDS - 1);
	__u64 *word = bpf_map_lookup_elem(&auth_guard, &index);

	return word && *word & 1ULL << (bit & 63);
}

/* The mode that the packet's host is under in this direction: enum auth_mode. A global function, which the verifier looks at once. */
__noinline int auth_mode_of(__u32 direction)
{
	__u32 id = bpf_get_smp_processor_id(), zero = 0, address4, host, block;
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);
	struct auth *a = bpf_map_lookup_elem(&auth, &zero);
	struct prefix_key key = { .bits = 128 };
	struct armed *found;

	if (!p || !a)
		return AUTH_OFF;
	if (p->family == FAMILY_IPV4) {
		address4 = direction == DIRECTION_INCOMING ? p->destination4 : p->source4;
		key.address = mapped(address4);
		host = guard_bit(address4, 0);
		block = guard_bit(address4 >> 8, 1);
	} else {
		key.address = direction == DIRECTION_INCOMING ? p->destination : p->source;
		host = guard_bit(key.address.high * 0x9e3779b97f4a7c15ULL ^ key.address.low, 0);
		block = guard_bit(key.address.high, 1);
	}
	if (!a->everywhere && !auth_guarded(host) && !auth_guarded(block))
		return AUTH_OFF;
	found = bpf_map_lookup_elem(&auth_hosts, &key);
	if (!found || !is_ahead(found->word))
		return AUTH_OFF;
	if (found->word >> VERDICT_ACTION_SHIFT == AUTH_ALL && is_ahead(found->from))
		return AUTH_REPLIES;
	return found->word >> VERDICT_ACTION_SHIFT;
}

/* Whether this CPU may still answer. */
static __always_inline bool within_allowance(const struct auth *a, struct auth_cpu *own)
{
	__u64 now = bpf_ktime_get_ns();

	if ((__s64)(own->busy_until - now) < 0)
		own->busy_until = now;
	if ((__s64)(own->busy_until - now) > AUTH_BURST) {
		own->unanswered++;
		return false;
	}
	own->busy_until += a->answer_cost;
	return true;
}

/*
 * Whether there is nothing but VLAN tags before the packet's IP header. What is behind labels or in a tunnel cannot be answered
 * in the host's place, so that nobody there could prove himself: it is not asked for proof.
 */
static __always_inline bool is_bare(const struct packet *p, void *data, void *end)
{
	__be16 *ethertype = data + ((p->network_at - 2) & 0x7fff);

	if (p->depth || p->network_at < sizeof(struct ethhdr) || (void *)(ethertype + 1) > end)
		return false;
	return *ethertype == bpf_htons(p->family == FAMILY_IPV4 ? ETH_P_IP : ETH_P_IPV6);
}

/* Whether the TCP header comes right behind the IP header, without options, extensions and fragments, which no client's SYN has. */
static __always_inline bool is_plain(const struct packet *p)
{
	__u32 header = p->family == FAMILY_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return p->transport_at == p->network_at + header && !p->fragment;
}

/* What is to become of a TCP packet to a host under authentication: 0 passes, else why it does not. */
static __always_inline int authenticate(void *data, void *end, __u32 mode)
{
	__u32 id = bpf_get_smp_processor_id(), zero = 0;
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);
	struct auth *a = bpf_map_lookup_elem(&auth, &zero);
	struct auth_cpu *own = bpf_map_lookup_elem(&auth_cpus, &id);
	__be32 *header;
	__u64 source;

	if (!p || !a || !own || !is_bare(p, data, end))
		return 0;
	source = source_key(p->family, p->source4, &p->source);
	header = data + (p->transport_at & 0x7fff);
	if (p->tcp_flags & TCP_RST && is_plain(p) && (void *)(header + 2) <= end && is_cookie(bpf_ntohl(header[1]))) {
		own->proofs += prove(a, own, source);
		return REASON_PROVEN;
	}
	if (is_proven(a, source))
		return 0;
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		if (p->tcp_flags & (TCP_FIN | TCP_RST) || !is_plain(p) || !within_allowance(a, own))
			return REASON_UNPROVEN;
		return REASON_CHALLENGED;
	}
	if (mode == AUTH_ALL || (mode == AUTH_REPLIES && p->tcp_flags & TCP_SYN))
		return REASON_UNPROVEN;
	return 0;
}

__noinline int authenticate_xdp(struct xdp_md *ctx, __u32 mode)
{
	return authenticate((void *)(long)ctx->data, (void *)(long)ctx->data_end, mode);
}

/*
 * Whoever a host under authentication itself talks to is proven: by a SYN the host begins, by an ACK it goes on. What it sends to
 * a forged source is a SYN-ACK or a RST.
 */
__noinline int learn_peer(void)
{
	__u32 id = bpf_get_smp_processor_id(), zero = 0;
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);
	struct auth *a = bpf_map_lookup_elem(&auth, &zero);
	struct auth_cpu *own = bpf_map_lookup_elem(&auth_cpus, &id);
	__u32 flags;
	__u64 peer;

	if (!p || !a || !own)
		return 0;
	flags = p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST);
	if ((flags != TCP_SYN && flags != TCP_ACK) || !auth_mode_of(DIRECTION_OUTGOING))
		return 0;
	peer = source_key(p->family, p->destination4, &p->destination);
	if (!is_proven(a, peer))
		own->learned += prove(a, own, peer);
	return 0;
}

#endif
