/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The number in a challenge that nobody can know but the one it was sent to: SipHash-2-4 of who sends what to whom, and when. */
#ifndef WEIR_COOKIE_H
#define WEIR_COOKIE_H

#include "maps.h"

/* Bit 31 tells epochs apart. Bit 30 is free: it is turned over where the cookie could pass for a right acknowledgement. */
#define COOKIE_EPOCH (1U << 31)
#define COOKIE_FREE (1U << 30)
#define COOKIE_SYN_MOST (1U << 17) /* no SYN takes up more sequence numbers */

static __always_inline __u64 rotate(__u64 x, __u32 bits)
{
	return x << bits | x >> (64 - bits);
}

static __always_inline void sip_round(__u64 v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static __always_inline void sip_word(__u64 v[4], __u64 word)
{
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
}

/* The cookie for the packet in hand in an epoch. A global function, which the verifier looks at once. */
__noinline int cookie(__u32 epoch)
{
	__u32 id = bpf_get_smp_processor_id(), zero = 0;
	struct packet *p = bpf_map_lookup_elem(&in_hand, &id);
	struct auth *a = bpf_map_lookup_elem(&auth, &zero);
	__u64 v[4], bytes = 16;

	if (!p || !a)
		return 0;
	v[0] = a->cookie_key[0] ^ 0x736f6d6570736575ULL;
	v[1] = a->cookie_key[1] ^ 0x646f72616e646f6dULL;
	v[2] = a->cookie_key[0] ^ 0x6c7967656e657261ULL;
	v[3] = a->cookie_key[1] ^ 0x7465646279746573ULL;
	if (p->family == FAMILY_IPV4) {
		sip_word(v, (__u64)p->source4 << 32 | p->destination4);
	} else {
		sip_word(v, p->source.high);
		sip_word(v, p->source.low);
		sip_word(v, p->destination.high);
		sip_word(v, p->destination.low);
		bytes = 40;
	}
	sip_word(v, (__u64)p->source_port << 48 | (__u64)p->destination_port << 32 | epoch);
	sip_word(v, bytes << 56);
	v[2] ^= 0xff;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sip_round(v);
	v[0] ^= v[1] ^ v[2] ^ v[3];
	return ((__u32)v[0] & ~(COOKIE_FREE | COOKIE_EPOCH)) | epoch << 31;
}

static __always_inline __u32 epoch_now(void)
{
	return bpf_jiffies64() >> AUTH_EPOCH_SHIFT;
}

/* Acknowledges nothing that a SYN with this sequence number can have sent. */
static __always_inline __u32 cookie_beside(__u32 sequence)
{
	__u32 number = cookie(epoch_now());

	return number - sequence <= COOKIE_SYN_MOST ? number ^ COOKIE_FREE : number;
}

/* Whether number is the packet's cookie of this epoch or the one before. */
static __always_inline bool is_cookie(__u32 number)
{
	__u32 epoch = epoch_now();

	if ((epoch ^ number >> 31) & 1)
		epoch--;
	return !(((__u32)cookie(epoch) ^ number) & ~COOKIE_FREE);
}

#endif
