/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* 1 packet in N, with its first bytes, to the ring buffer. */
#ifndef WEIR_SAMPLE_H
#define WEIR_SAMPLE_H

#include "maps.h"
#include "parse.h"

/* A frame and where it was seen. */
struct frame {
	void *data;
	void *end;
	__u32 length;
	__u32 ifindex;
	__u32 egress;
};

/* Whether this packet is the one in rate. The distance to the next is random, so that periodic traffic cannot hide from it. */
static __always_inline bool due(__u32 *left, __u32 rate)
{
	if (!rate)
		return false;
	if ((*left)--)
		return false;
	*left = rate == 1 ? 0 : bpf_get_prandom_u32() % (2 * rate - 1);
	return true;
}

/* The reader looks at the ring many times a second, so it is never woken: a wake-up would cost more than the sample. */
static __always_inline void record(struct cpu *cpu, const struct frame *f, const struct packet *p, __u32 rate, enum reason reason)
{
	struct sample *s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	__u32 n = 0;

	if (!s) {
		cpu->samples_lost++;
		return;
	}
	s->time = bpf_ktime_get_ns();
	s->ifindex = f->ifindex;
	s->rate = rate;
	s->length = p->length;
	s->reason = reason;
	s->egress = f->egress;
#pragma unroll
	for (; n < SAMPLE_BYTES; n += 8) {
		if (f->data + n + 8 > f->end)
			break;
		*(__u64 *)(s->data + n) = *(__u64 *)(f->data + n);
	}
#pragma unroll
	for (int i = 0; i < 7; i++) {
		if (n >= SAMPLE_BYTES || f->data + n + 1 > f->end)
			break;
		s->data[n] = *(__u8 *)(f->data + n);
		n++;
	}
	s->captured = n;
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
}

#endif
