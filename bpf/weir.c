/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Weir's data plane: measures every host of our networks, drops what is banned.
 * XDP sees what arrives on an interface, the tc program what a server itself sends.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include "headers/bpf_helpers.h"
#include "abi.h"
#include "abi_rules.h"
#include "abi_auth.h"
#include "maps.h"
#include "parse.h"
#include "tunnel.h"
#include "locate.h"
#include "verdict.h"
#include "rule.h"
#include "source.h"
#include "authenticate.h"
#include "challenge.h"
#include "account.h"
#include "sample.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* A packet's host in one direction. */
struct host {
	struct cell *cell;
	__u32 slot;
	__u32 verdict;
};

static __always_inline void find_host(struct host *h, const struct packet *p, struct cpu *cpu, __u32 id, enum direction direction)
{
	struct address address;

	if (p->family == FAMILY_IPV4) {
		h->slot = locate_ipv4(direction == DIRECTION_INCOMING ? p->destination4 : p->source4, direction);
	} else {
		address = direction == DIRECTION_INCOMING ? p->destination : p->source;
		h->slot = locate_ipv6(&address, direction);
	}
	if (h->slot == SLOT_NONE)
		return;
	if (h->slot & SLOT_FOLDED) {
		h->slot &= ~SLOT_FOLDED;
		cpu->folded_packets += p->packets;
		if (p->family == FAMILY_IPV4)
			address = mapped(direction == DIRECTION_INCOMING ? p->destination4 : p->source4);
		h->verdict = prefix_verdict(&address, direction);
	}
	h->cell = cell_of(id, direction, h->slot);
	if (h->cell)
		h->verdict |= h->cell->verdict;
}

/* Whether h's packet is to be dropped. A mirror's packets are copies: dropping them would stop nothing. */
static __always_inline bool banned(const struct host *h, const struct packet *p)
{
	return settings.role != ROLE_MIRROR && !p->neighbour && action_of(h->verdict) == ACTION_DROP;
}

static __always_inline void count_host(struct host *h, const struct packet *p, __u32 cpu, enum direction direction, __u32 flow,
				       bool dropped)
{
	count_packet(h->cell, p, flow);
	if (dropped)
		count_drop(h->cell, p);
	mark_hot(h->cell, p->packets, cpu, direction, h->slot);
}

/* A mirror's packets are copies: their sources have nobody to answer. Hosts' own packets teach in either direction. */
static __always_inline bool authenticates(const struct packet *p, __u32 filter)
{
	return settings.auth_buckets && settings.role != ROLE_MIRROR && filter & FILTER_AUTH && p->protocol == IPPROTO_TCP;
}

#define RULING_WHY 16 /* above this bit: enum reason, of what is dropped for one of its own */

/*
 * What lists of sources, rules and authentication say of the packet: enum ruling, RULING_SAMPLE, RULING_WHY. A mirror's packets
 * are judged too, so that the hits are known. Answers to challenges come before rules, which may be against such packets; all
 * others are asked for proof only when no rule has stopped them or let them pass.
 */
static __always_inline int judge(void *ctx, bool egress, const struct packet *p, struct cpu *cpu, bool incoming)
{
	__u32 filter = cpu->filter, auth = AUTH_OFF;
	int kind, ruling = RULING_NONE;
	bool rules;

	if (!(filter & (FILTER_RULES | FILTER_BLOCKS | FILTER_AUTH)) || p->neighbour)
		return RULING_NONE;
	rules = filter & FILTER_RULES && under_rules(p, filter);
	if (!egress && incoming && authenticates(p, filter))
		auth = auth_mode_of(DIRECTION_INCOMING);
	if (filter & FILTER_SOURCES && incoming && (rules || auth || filter & FILTER_BLOCKS)) {
		kind = listed(p, cpu);
		if (kind == LISTED_ALLOW)
			return RULING_PASS;
		if (kind == LISTED_BLOCK)
			return RULING_DROP;
	}
	if (auth && p->tcp_flags & TCP_RST) {
		kind = authenticate_xdp(ctx, auth);
		if (kind)
			return kind << RULING_WHY | RULING_DROP;
		auth = AUTH_OFF;
	}
	if (rules)
		ruling = egress ? filter_egress(ctx) : filter_xdp(ctx);
	if (!auth || (ruling & 0xff) == RULING_DROP || (ruling & 0xff) == RULING_PASS)
		return ruling;
	kind = authenticate_xdp(ctx, auth);
	return kind ? kind << RULING_WHY | (ruling & RULING_SAMPLE) | RULING_DROP : ruling;
}

/* Locate, judge and count a packet whose addresses are known. */
static __always_inline enum reason account(void *ctx, bool egress, const struct packet *p, struct cpu *cpu, __u32 id, __u32 *suspect)
{
	struct host to = {}, from = {};
	bool drop_in, drop_out, filtered;
	int ruling;
	__u32 flow;

	find_host(&to, p, cpu, id, DIRECTION_INCOMING);
	find_host(&from, p, cpu, id, DIRECTION_OUTGOING);
	if (!to.cell) {
		asm volatile(""); /* keeps the compiler from testing both with one OR of pointers, which the verifier refuses */
		if (!from.cell)
			return REASON_OTHER;
	}
	drop_in = to.cell && banned(&to, p);
	drop_out = from.cell && banned(&from, p);
	ruling = drop_in || drop_out ? RULING_NONE : judge(ctx, egress, p, cpu, to.cell != 0);
	*suspect = ((to.verdict | from.verdict) & VERDICT_SUSPECT) | (ruling & RULING_SAMPLE);
	filtered = (ruling & 0xff) == RULING_DROP && settings.role != ROLE_MIRROR;
	flow = new_flow(p, id, cpu);
	if (to.cell)
		count_host(&to, p, id, DIRECTION_INCOMING, flow, drop_in || filtered);
	if (from.cell)
		count_host(&from, p, id, DIRECTION_OUTGOING, flow, drop_out || (filtered && !to.cell));
	if (drop_in)
		return REASON_BANNED_IN;
	if (drop_out)
		return REASON_BANNED_OUT;
	if (filtered && ruling >> RULING_WHY)
		return ruling >> RULING_WHY;
	if (filtered)
		return to.cell ? REASON_FILTERED_IN : REASON_FILTERED_OUT;
	if (from.cell && (egress || !to.cell) && authenticates(p, cpu->filter))
		learn_peer();
	if (to.cell && from.cell)
		return REASON_INTERNAL;
	return to.cell ? REASON_INCOMING : REASON_OUTGOING;
}

/* The packet in hand on this CPU, cleared; 0 cannot be: the map has an entry for every possible CPU. */
static __always_inline struct packet *begin(__u32 length, __u32 packets)
{
	__u32 id = bpf_get_smp_processor_id();
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);

	if (!p)
		return 0;
	__builtin_memset(p, 0, sizeof(*p));
	p->length = length;
	p->packets = packets;
	return p;
}

/*
 * One step into a tunnel. Functions that the verifier looks at once, however often they are called, because they are global:
 * these may be given the context and nothing else.
 */
__noinline int unwrap_xdp(struct xdp_md *ctx)
{
	__u32 id = bpf_get_smp_processor_id();
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);

	return p ? step_inside((void *)(long)ctx->data, (void *)(long)ctx->data_end, p) : REASON_OTHER;
}

__noinline int unwrap_egress(struct __sk_buff *skb)
{
	__u32 id = bpf_get_smp_processor_id();
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);

	return p ? step_inside((void *)(long)skb->data, (void *)(long)skb->data_end, p) : REASON_OTHER;
}

/* What parse() has left for later. Between two tunnels there may be IP behind labels, which is a step as well. */
static __always_inline enum reason look_inside(void *ctx, bool egress, const struct packet *p, enum reason reason)
{
#pragma unroll
	for (int i = 0; i < 2 * (TUNNEL_DEPTH + 1); i++) {
		if (!p->next)
			break;
		reason = egress ? unwrap_egress(ctx) : unwrap_xdp(ctx);
	}
	return reason;
}

static __always_inline enum reason measure(void *ctx, const struct frame *f, struct packet *p)
{
	struct cursor cursor = { .at = f->data, .end = f->end, .start = f->data };
	__u32 id = bpf_get_smp_processor_id();
	struct cpu *cpu = bpf_map_lookup_elem(&cpus, &id);
	enum reason reason;
	__u32 suspect = 0, rate;

	if (!cpu)
		return REASON_OTHER;
	reason = parse(&cursor, p);
	if (settings.tunnels)
		reason = look_inside(ctx, f->egress, p, reason);
	if (reason)
		return leave(cpu, p, reason);
	count_anomaly(cpu, p);
	reason = account(ctx, f->egress, p, cpu, id, &suspect);
	rate = suspect ? cpu->suspect_rate : cpu->sample_rate;
	if (due(suspect ? &cpu->suspect_left : &cpu->sample_left, rate))
		record(cpu, f, p, rate, reason);
	return leave(cpu, p, reason);
}

static __always_inline bool drops(enum reason reason)
{
	return reason == REASON_BANNED_IN || reason == REASON_BANNED_OUT || reason == REASON_FILTERED_IN || reason == REASON_FILTERED_OUT ||
	       reason == REASON_PROVEN || reason == REASON_UNPROVEN;
}

/* To the paired interface; a frame that has none is lost, and counted. */
static __always_inline int redirect(struct xdp_md *ctx)
{
	__u32 id = bpf_get_smp_processor_id();
	int action = bpf_redirect_map(&pairs, ctx->ingress_ifindex, 0);
	struct cpu *cpu;

	if (action == XDP_REDIRECT)
		return action;
	cpu = bpf_map_lookup_elem(&cpus, &id);
	if (cpu)
		cpu->redirect_failed++;
	return XDP_DROP;
}

SEC("xdp.frags")
int weir_xdp(struct xdp_md *ctx)
{
	struct frame f = {
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.ifindex = ctx->ingress_ifindex,
	};
	/* Of a frame in several buffers, only the first lies between data and data_end. */
	struct packet *p = begin(settings.has_buff_len ? bpf_xdp_get_buff_len(ctx) : f.end - f.data, 1);
	enum reason reason;

	if (!p)
		return XDP_PASS;
	reason = measure(ctx, &f, p);
	if (reason == REASON_CHALLENGED)
		return answer_xdp(ctx);
	if (drops(reason))
		return XDP_DROP;
	if (settings.role == ROLE_WIRE)
		return redirect(ctx);
	if (settings.role == ROLE_MIRROR && reason != REASON_ARP && !p->neighbour)
		return XDP_DROP;
	return XDP_PASS;
}

/* What the server itself sends. Segmentation comes later: one buffer may be many packets on the wire. */
SEC("tc")
int weir_egress(struct __sk_buff *skb)
{
	struct frame f = {
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.ifindex = skb->ifindex,
		.egress = 1,
	};
	/* wire_len has the headers of all segments. A VLAN tag beside the frame is put in later. */
	__u32 length = (skb->wire_len > skb->len ? skb->wire_len : skb->len) + (skb->vlan_present ? 4 : 0);
	struct packet *p = begin(length, skb->gso_segs > 1 ? skb->gso_segs : 1);
	enum reason reason;

	if (!p)
		return TC_ACT_UNSPEC;
	reason = measure(skb, &f, p);
	if (drops(reason))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}

/* What anything costs at the least: parse and drop. `weir bench xdp` measures the others against it; nothing attaches it. */
SEC("xdp.frags")
int weir_floor(struct xdp_md *ctx)
{
	struct cursor cursor = {
		.at = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.start = (void *)(long)ctx->data,
	};
	struct packet *p = begin(cursor.end - cursor.start, 1);

	if (!p)
		return XDP_PASS;
	return parse(&cursor, p) == REASON_ARP ? XDP_PASS : XDP_DROP;
}
