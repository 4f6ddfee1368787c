/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring between a program that captures and Weir: one file, mapped by both. Values are in host byte order. The counters of the
 * writer and of the reader stand on pages of their own. A record begins on a multiple of 8 bytes; one that would not fit before
 * the end of the data is replaced by WEIR_RING_MARK, and begins anew at 0.
 */
#ifndef WEIR_RING_H
#define WEIR_RING_H

#include <stdint.h>

#define WEIR_RING_MAGIC 0x474e495252494557ULL /* "WEIRRING" */
#define WEIR_RING_VERSION 1
#define WEIR_RING_MARK 0xffffffffU
#define WEIR_RING_LONGEST 10240

struct weir_ring {
	uint64_t magic;
	uint32_t version;
	uint32_t unused;
	uint64_t size;      /* bytes of data, a power of two */
	uint64_t written;   /* bytes written since the beginning */
	uint64_t dropped;   /* frames that found no room */
	uint64_t heartbeat; /* changes several times a second */
	uint8_t pad[4096 - 48];
	uint64_t read; /* bytes that Weir is done with */
	uint8_t pad2[4096 - 8];
	uint8_t data[];
};

struct weir_record {
	uint32_t captured; /* bytes that follow */
	uint32_t length;   /* bytes on the wire */
	uint64_t time;     /* ns since 1970, 0: unknown */
};

_Static_assert(sizeof(struct weir_ring) == 8192, "the data begins on the third page");
_Static_assert(sizeof(struct weir_record) == 16, "a record's header");

#endif
