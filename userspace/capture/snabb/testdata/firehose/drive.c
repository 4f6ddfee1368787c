/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake of `snabb firehose` with a fake NIC, for tests: loads the plug-in, fills a ring of receive descriptors as an 82599 in its legacy
 * format would, and calls the plug-in between.
 *
 *	WEIR_RING=FILE drive PLUGIN FRAMES DESCRIPTORS [polite]
 *
 * Frame i begins with i, 4 bytes in host order, is 14 + i*37 % 1500 bytes long, and filled with i's lowest byte. polite: the NIC waits
 * while the ring is half full.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../firehose/ring.h"

struct descriptor {
	uint64_t address;
	uint16_t length, checksum;
	uint8_t status, errors;
	uint16_t vlan;
} __attribute__((packed));

static struct weir_ring *map(void)
{
	int file = open(getenv("WEIR_RING"), O_RDWR);
	struct stat info;

	if (file < 0 || fstat(file, &info) < 0)
		exit(2);
	return mmap(0, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

int main(int argc, char **argv)
{
	uint32_t frames, sent = 0;
	int size, index = 0, next = 0, free_descriptors;
	struct descriptor *descriptors;
	struct weir_ring *ring;
	char **packets;
	void *plugin;
	void (*start)(void), (*stop)(void);
	int (*callback)(const char *, char **, void *, int, int);

	if (argc < 4 || !(plugin = dlopen(argv[1], RTLD_NOW))) {
		fprintf(stderr, "drive: %s\n", argc < 4 ? "too few arguments" : dlerror());
		return 2;
	}
	*(void **)&start = dlsym(plugin, "firehose_start");
	*(void **)&stop = dlsym(plugin, "firehose_stop");
	*(void **)&callback = dlsym(plugin, "firehose_callback_v1");
	if (!start || !stop || !callback)
		return 2;
	frames = atoi(argv[2]);
	size = atoi(argv[3]);
	descriptors = calloc(size, sizeof(*descriptors));
	packets = calloc(size, sizeof(*packets));
	for (int i = 0; i < size; i++)
		packets[i] = malloc(10240);
	start();
	ring = map();
	for (free_descriptors = size - 1; sent < frames || free_descriptors < size - 1;) {
		int come = 1 + sent % (size - 1), before = index;

		while (argc > 4 && ring->written - __atomic_load_n(&ring->read, __ATOMIC_ACQUIRE) > ring->size / 2)
			usleep(50);
		for (; come > 0 && free_descriptors > 0 && sent < frames; come--, free_descriptors--, sent++) {
			int length = 14 + sent * 37 % 1500;

			memset(packets[next], sent, length);
			memcpy(packets[next], &sent, 4);
			descriptors[next].length = length;
			descriptors[next].status = 1;
			next = (next + 1) & (size - 1);
		}
		index = callback("0000:04:00.0", packets, descriptors, size, index);
		free_descriptors += (index - before) & (size - 1);
	}
	stop();
	return 0;
}
