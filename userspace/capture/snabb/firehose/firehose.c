/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plug-in for `snabb firehose`: writes each frame of the NIC's ring into the ring that WEIR_RING names, which Weir has made.
 *
 *	WEIR_RING=/dev/shm/weir-0 snabb firehose --input 0000:04:00.0 weir-firehose.so
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring.h"

/* A receive descriptor of Intel's 82599 in its legacy form, as firehose hands it over. */
struct descriptor {
	uint64_t address;
	uint16_t length;
	uint16_t checksum;
	uint8_t status; /* bit 0: done */
	uint8_t errors;
	uint16_t vlan;
} __attribute__((packed));

static struct weir_ring *ring;

/* Maps the ring. Without one there is nothing to do here, and no caller to tell. */
void firehose_start(void)
{
	const char *path = getenv("WEIR_RING");
	struct stat info;
	int file;

	if (!path || (file = open(path, O_RDWR | O_CLOEXEC)) < 0 || fstat(file, &info) < 0) {
		perror("weir-firehose: open the ring that WEIR_RING names");
		exit(1);
	}
	ring = mmap(0, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (ring == MAP_FAILED || ring->magic != WEIR_RING_MAGIC || ring->version != WEIR_RING_VERSION) {
		fprintf(stderr, "weir-firehose: %s is not a ring of this version\n", path);
		exit(1);
	}
}

void firehose_stop(void)
{
}

static void write_frame(const char *frame, uint32_t length)
{
	uint64_t written = ring->written, need = sizeof(struct weir_record) + ((length + 7) & ~7U);
	uint64_t at = written & (ring->size - 1), skip = at + need > ring->size ? ring->size - at : 0;
	struct weir_record *record;

	if (length > WEIR_RING_LONGEST || written - __atomic_load_n(&ring->read, __ATOMIC_ACQUIRE) + skip + need > ring->size) {
		__atomic_store_n(&ring->dropped, ring->dropped + 1, __ATOMIC_RELAXED);
		return;
	}
	if (skip) {
		*(uint32_t *)(ring->data + at) = WEIR_RING_MARK;
		written += skip;
		at = 0;
	}
	record = (struct weir_record *)(ring->data + at);
	record->captured = record->length = length;
	record->time = 0;
	memcpy(record + 1, frame, length);
	__atomic_store_n(&ring->written, written + need, __ATOMIC_RELEASE);
}

/*
 * Takes all frames that are done from index on, and returns the index to go on from. One turn of the ring at most: firehose gives
 * the NIC its descriptors back, and we tell that we are alive, between calls.
 */
int firehose_callback_v1(const char *pciaddr, char **packets, void *rxring, int ring_size, int index)
{
	volatile struct descriptor *descriptors = rxring;

	(void)pciaddr;
	__atomic_store_n(&ring->heartbeat, ring->heartbeat + 1, __ATOMIC_RELAXED);
	for (int turn = 0; turn < ring_size - 1 && descriptors[index].status & 1; turn++) {
		write_frame(packets[index], descriptors[index].length);
		descriptors[index].status = 0;
		index = (index + 1) & (ring_size - 1);
	}
	return index;
}
