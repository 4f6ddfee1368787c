/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is to become of a host's packets, and until when. */
#ifndef WEIR_VERDICT_H
#define WEIR_VERDICT_H

#include "maps.h"

/* Whether the moment in word is still to come. The difference is signed within the bits of the moment, hence right across its wrap. */
static __always_inline bool is_ahead(__u32 word)
{
	__u32 now = bpf_jiffies64() >> VERDICT_UNIT_SHIFT;

	return (__s32)((word - now) << (32 - VERDICT_UNTIL_BITS)) > 0;
}

/*
 * The action that is in force. jiffies is read only where there is an action: the JIT makes one load of it, so that the
 * expiry costs a banned packet nothing and other packets never look.
 */
static __always_inline enum action action_of(__u32 verdict)
{
	enum action action = verdict >> VERDICT_ACTION_SHIFT;

	if (!action || !is_ahead(verdict))
		return ACTION_NONE;
	return action;
}

/* The verdict on the host's prefix: it holds for hosts without a cell of their own to keep it in. */
static __always_inline __u32 prefix_verdict(const struct address *host, __u32 direction)
{
	struct prefix_key key = { .bits = 128, .address = *host };
	struct verdicts *found = bpf_map_lookup_elem(&prefix_verdicts, &key);

	return found ? found->word[direction & 1] : 0;
}

#endif
