/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Rules: one lookup per shape of match, however many rules there are. Only packets of hosts that a rule names come here.
 * The Go side of every table is loader/rule*.go.
 */
#ifndef WEIR_RULE_H
#define WEIR_RULE_H

#include "maps.h"
#include "facts.h"
#include "verdict.h"

#define RULE_NONE 0xffffffffU
#define RULING_SAMPLE 0x100U /* beside what a ruling is: the packet is one of those to look at more often */

/* Which bit of the guard stands for a host or a block of hosts; kind keeps the four apart. */
static __always_inline __u32 guard_bit(__u64 x, __u64 kind)
{
	x = (x ^ kind * 0xbf58476d1ce4e5b9ULL) * 0x9e3779b97f4a7c15ULL;
	x = (x ^ x >> 32) * 0x94d049bb133111ebULL;
	return x >> 32;
}

static __always_inline bool guard_has(const struct ruleset *set, __u32 generation, __u32 bit)
{
	__u32 index;
	__u64 *word;

	bit &= set->guard_mask;
	index = generation * settings.rule_guard + (bit >> 6);
	word = bpf_map_lookup_elem(&rule_guard, &index);
	return word && *word & 1ULL << (bit & 63);
}

/* Whether a rule may be for this address: a host, its /24 or its /64. kind is 0 for destinations and 2 for sources. */
static __always_inline bool guarded(const struct ruleset *set, __u32 generation, __u8 family, const struct address *address,
				    __u32 address4, __u32 kind)
{
	if (family == FAMILY_IPV4)
		return guard_has(set, generation, guard_bit(address4, kind)) ||
		       guard_has(set, generation, guard_bit(address4 >> 8, kind + 1));
	return guard_has(set, generation, guard_bit(address->high * 0x9e3779b97f4a7c15ULL ^ address->low, kind)) ||
	       guard_has(set, generation, guard_bit(address->high, kind + 1));
}

/* Whether any rule may be for the packet. */
static __always_inline bool under_rules(const struct packet *p, __u32 filter)
{
	__u32 generation = filter >> FILTER_RULES_GENERATION & 1;
	struct ruleset *set = bpf_map_lookup_elem(&rule_sets, &generation);

	if (!set)
		return false;
	return set->guard_all || guarded(set, generation, p->family, &p->destination, p->destination4, 0) ||
	       (set->by_source && guarded(set, generation, p->family, &p->source, p->source4, 2));
}

static __always_inline void count_hit(const struct packet *p, __u32 id, __u32 generation, __u32 order)
{
	__u32 index = (id * 2 + generation) * settings.rules + order;
	struct rule_hits *hits = bpf_map_lookup_elem(&rule_hits, &index);

	if (!hits)
		return;
	hits->packets += p->packets;
	hits->bytes += p->length;
	hits->last = bpf_jiffies64();
}

static __always_inline bool in_force(__u32 word)
{
	return word & RULE_FOREVER || is_ahead(word);
}

/*
 * The key that a shape makes of the packet, hashed by a sum of products with secret 64-bit numbers ("multilinear"): for whoever
 * does not know them, two keys have the same upper 32 bits with a chance of 2^-32. With other secrets it is another hash.
 */
static __always_inline __u64 hash_key(const struct facts *f, const __u64 *secret, const struct shape *s)
{
	__u64 x, y, sum = 0;

#pragma unroll
	for (int i = 0; i < RULE_NARROW; i += 2) {
		x = f->word[i] & s->mask[i];
		y = f->word[i + 1] & s->mask[i + 1];
		if (i >= RULE_PORTS) {
			x |= f->class[i] & s->classes[i];
			y |= i + 1 == RULE_REST ? s->number : f->class[i + 1] & s->classes[i + 1];
		}
		sum += (x + secret[i]) * (y + secret[i + 1]);
	}
	if (f->has & HAS_IPV6) {
#pragma unroll
		for (int i = RULE_NARROW; i < RULE_WORDS; i += 2)
			sum += ((f->word[i] & s->mask[i]) + secret[i]) * ((f->word[i + 1] & s->mask[i + 1]) + secret[i + 1]);
	}
	return sum;
}

static __always_inline struct rule_entry *find_in_bucket(__u32 index, __u64 tag)
{
	struct rule_bucket *bucket = bpf_map_lookup_elem(&rule_table, &index);

	if (!bucket)
		return 0;
#pragma unroll
	for (int i = 0; i < RULE_BUCKET; i++) {
		if (bucket->entry[i].tag == tag)
			return &bucket->entry[i];
	}
	return 0;
}

/* 32 bits of the destination as the shape sees it. */
static __always_inline __u64 hash_destination(const struct facts *f, const struct shape *s)
{
	__u64 x = f->word[RULE_DESTINATION] & s->mask[RULE_DESTINATION];

	if (f->has & HAS_IPV6)
		x += (__u64)(f->word[RULE_DESTINATION6] & s->mask[RULE_DESTINATION6]) * 3 +
		     (__u64)(f->word[RULE_DESTINATION6 + 1] & s->mask[RULE_DESTINATION6 + 1]) * 5 +
		     (__u64)(f->word[RULE_DESTINATION6 + 2] & s->mask[RULE_DESTINATION6 + 2]) * 7;
	return x * 0x9e3779b97f4a7c15ULL >> 32;
}

/* A key is in one of two buckets, if it is there. */
static __always_inline struct rule_entry *find_entry(const struct facts *f, const struct ruleset *set, const struct shape *s)
{
	__u64 a = hash_key(f, set->secret[0], s), b, bits, *word;
	struct rule_entry *entry;
	__u32 index;

	index = f->generation * settings.rule_bloom + ((a >> 38 & set->bloom_within) | (hash_destination(f, s) & set->bloom_page));
	word = bpf_map_lookup_elem(&rule_bloom, &index);
	bits = 1ULL << (a >> 32 & 63) | 1ULL << (a >> 44 & 63) | 1ULL << (a >> 56 & 63);
	if (!word || (*word & bits) != bits)
		return 0;
	a |= !a;
	b = hash_key(f, set->secret[1], s);
	index = f->generation * settings.rule_buckets + (b >> 32 & set->bucket_mask);
	entry = find_in_bucket(index, a);
	if (entry)
		return entry;
	index = f->generation * settings.rule_buckets + (b >> 45 & set->bucket_mask);
	return find_in_bucket(index, a);
}

/* Whether the bytes behind the transport header are those of rule_payloads[index]. */
static __always_inline int compare_payload(void *data, void *end, __u32 index)
{
	__u32 id = bpf_get_smp_processor_id();
	struct facts *f = bpf_map_lookup_elem(&rule_facts, &id);
	struct rule_payload *payload;

	if (!f || !f->payload_at)
		return 0;
	index += f->generation * settings.rule_complex;
	payload = bpf_map_lookup_elem(&rule_payloads, &index);
	if (!payload)
		return 0;
#pragma unroll
	for (int r = 0; r < RULE_PAYLOADS; r++) {
		__u32 at = f->payload_at + payload->run[r].offset;
		__u8 *bytes = data + (at & 0x7fff);

#pragma unroll
		for (int i = 0; i < RULE_PAYLOAD_BYTES; i++) {
			if (i >= payload->run[r].length)
				break;
			if (at > 0x7fff || (void *)(bytes + i + 1) > end)
				return 0;
			if ((bytes[i] ^ payload->run[r].value[i]) & payload->run[r].mask[i])
				return 0;
		}
	}
	return 1;
}

/* Global functions, which the verifier looks at once: here a packet's memory can only be had by way of the context. */
__noinline int payload_xdp(struct xdp_md *ctx, __u32 index)
{
	return compare_payload((void *)(long)ctx->data, (void *)(long)ctx->data_end, index);
}

__noinline int payload_egress(struct __sk_buff *skb, __u32 index)
{
	return compare_payload((void *)(long)skb->data, (void *)(long)skb->data_end, index);
}

/* The rules of one key in their order, until one has the packet; loose ones all count. */
static __always_inline void follow_chain(void *ctx, bool egress, const struct packet *p, struct facts *f, __u32 id, __u32 index,
					 __u32 loose)
{
	index += f->generation * settings.rule_complex;
#pragma unroll
	for (int i = 0; i < RULE_CHAIN; i++) {
		struct rule *rule = bpf_map_lookup_elem(&rules, &index);
		bool hit;

		if (!rule || rule->order >= f->best)
			return;
		hit = in_force(rule->word);
		if (hit && rule->payload)
			hit = egress ? payload_egress(ctx, rule->payload - 1) : payload_xdp(ctx, rule->payload - 1);
		if (hit && loose) {
			count_hit(p, id, f->generation, rule->order);
			f->sample |= rule->sample;
		} else if (hit) {
			f->best = rule->order;
			f->ruling = rule->word >> VERDICT_ACTION_SHIFT | (rule->sample ? RULING_SAMPLE : 0);
			f->limit = rule->limit;
			return;
		}
		if (!rule->next)
			return;
		index = f->generation * settings.rule_complex + rule->next - 1;
	}
}

/* Looks the packet up in the n-th shape. Returns 1 when no later shape can have a rule that comes before the best. */
static __always_inline int match_shape(void *ctx, bool egress, __u64 n)
{
	__u32 id = bpf_get_smp_processor_id();
	struct facts *f = bpf_map_lookup_elem(&rule_facts, &id);
	struct rule_entry *entry;
	struct ruleset *set;
	struct packet *p;
	struct shape *s;
	__u32 ruling;

	if (!f)
		return 1;
	set = bpf_map_lookup_elem(&rule_sets, &f->generation);
	if (!set || n >= set->shapes)
		return 1;
	asm volatile("" : "+r"(n)); /* the very register that is tested is the index, see account.h */
	if (n >= RULE_SHAPES)
		return 1;
	s = &set->shape[n];
	if (!s->loose && f->best <= s->first)
		return 1;
	if (s->needs & ~f->has)
		return 0;
	entry = find_entry(f, set, s);
	if (!entry)
		return 0;
	p = bpf_map_lookup_elem(&in_hand, &id);
	if (!p)
		return 1;
	ruling = entry->word >> VERDICT_ACTION_SHIFT;
	if (ruling == RULING_LOOK) {
		follow_chain(ctx, egress, p, f, id, entry->rule, s->loose);
	} else if (entry->rule < f->best && in_force(entry->word)) {
		if (s->loose) {
			count_hit(p, id, f->generation, entry->rule);
			return 0;
		}
		f->best = entry->rule;
		f->ruling = ruling;
	}
	return 0;
}

__noinline int match_xdp(struct xdp_md *ctx, __u32 n)
{
	return match_shape(ctx, false, n);
}

__noinline int match_egress(struct __sk_buff *skb, __u32 n)
{
	return match_shape(skb, true, n);
}

/* Whether a bucket has room; what is in it runs out by itself as time goes on. */
static __always_inline bool has_room(__u64 *until, __u64 per, __u64 burst, __u64 now)
{
	if (!per)
		return true;
	if ((__s64)(*until - now) < 0)
		*until = now; /* two CPUs may do so at once, which lets a packet more pass */
	return (__s64)(*until - now) <= (__s64)burst;
}

/* Whether the packet is within its rule's rates. All CPUs share the buckets, and none ever waits for another. */
static __always_inline bool within_limit(const struct packet *p, __u32 index)
{
	struct rule_limit *l = bpf_map_lookup_elem(&rule_limits, &index);
	__u64 now = bpf_ktime_get_ns() << 10;

	if (!l)
		return true;
	if (!has_room(&l->packets_until, l->per_packet, l->burst, now) || !has_room(&l->bytes_until, l->per_byte, l->burst, now))
		return false;
	if (l->per_packet)
		__sync_fetch_and_add(&l->packets_until, l->per_packet * p->packets);
	if (l->per_byte)
		__sync_fetch_and_add(&l->bytes_until, l->per_byte * p->length);
	return true;
}

/* What the rules say of the packet in hand: enum ruling, and RULING_SAMPLE. */
static __always_inline int filter(void *ctx, bool egress, void *data, void *end)
{
	__u32 id = bpf_get_smp_processor_id(), ruling;
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);
	struct facts *f = bpf_map_lookup_elem(&rule_facts, &id);
	struct cpu *cpu = bpf_map_lookup_elem(&cpus, &id);
	struct ruleset *set;

	if (!p || !f || !cpu)
		return RULING_NONE;
	f->has = 0;
	f->generation = cpu->filter >> FILTER_RULES_GENERATION & 1;
	f->best = RULE_NONE;
	f->ruling = RULING_NONE;
	f->sample = 0;
	gather_network(f, p, data + (p->network_at & 0x7fff), end);
	f->word[RULE_PORTS] = (__u32)p->source_port << 16 | p->destination_port;
	gather_transport(f, p, data, end);
	set = bpf_map_lookup_elem(&rule_sets, &f->generation);
	if (set && set->any_class)
		gather_classes(f, p, set->any_class);
#pragma unroll
	for (int n = 0; n < RULE_SHAPES; n++) {
		if (egress ? match_egress(ctx, n) : match_xdp(ctx, n))
			break;
	}
	ruling = f->ruling | (f->sample ? RULING_SAMPLE : 0);
	if (f->best == RULE_NONE)
		return ruling;
	count_hit(p, id, f->generation, f->best);
	if ((ruling & 0xff) != RULING_LIMIT)
		return ruling;
	if (within_limit(p, f->generation * settings.rule_complex + f->limit))
		return ruling;
	return (ruling & RULING_SAMPLE) | RULING_DROP;
}

__noinline int filter_xdp(struct xdp_md *ctx)
{
	return filter(ctx, false, (void *)(long)ctx->data, (void *)(long)ctx->data_end);
}

__noinline int filter_egress(struct __sk_buff *skb)
{
	return filter(skb, true, (void *)(long)skb->data, (void *)(long)skb->data_end);
}

#endif
