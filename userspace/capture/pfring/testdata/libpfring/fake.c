/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake of ntop's libpfring, for tests: the functions that Weir calls, with their signatures. Its device zc:fake0 receives packets
 * 0 to 4, each of 60 + i bytes of i, and says what it was told. The third one has no time stamp.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct pfring_pkthdr {
	int64_t seconds, microseconds;
	uint32_t caplen, len;
	uint64_t nanoseconds;
	uint32_t flags;
	uint8_t direction, port;
	uint16_t device;
	int32_t interface;
	uint32_t hash;
};

struct pfring {
	char told[7]; /* o d m w c s e: what was called, in that order */
	int at;
	uint8_t data[256];
};

static void tell(struct pfring *p, char c)
{
	for (int i = 0; i < 6; i++)
		if (!p->told[i]) {
			p->told[i] = c;
			return;
		}
}

struct pfring *pfring_open(const char *device, uint32_t caplen, uint32_t flags)
{
	if (strcmp(device, "zc:fake0") || caplen != 128 || flags != 8)
		return NULL;
	return calloc(1, sizeof(struct pfring));
}

int pfring_set_direction(struct pfring *p, int v) { tell(p, v == 1 ? 'd' : '!'); return -7; }
int pfring_set_socket_mode(struct pfring *p, int v) { tell(p, v == 2 ? 'm' : '!'); return 0; }
int pfring_set_poll_watermark(struct pfring *p, uint16_t v) { tell(p, v == 7 ? 'w' : '!'); return 0; }
int pfring_set_cluster(struct pfring *p, uint32_t id, int type) { tell(p, id == 21 && type == 4 ? 'c' : '!'); return 0; }
int pfring_set_sampling_rate(struct pfring *p, uint32_t v) { tell(p, v == 10 ? 's' : '!'); return 0; }
int pfring_enable_ring(struct pfring *p) { tell(p, 'e'); return strcmp(p->told, "dmwcse") ? -1 : 0; }
void pfring_close(struct pfring *p) { free(p); }
int pfring_poll(struct pfring *p, uint32_t ms) { return p && ms == 100 ? 0 : -1; }

int pfring_recv(struct pfring *p, uint8_t **buffer, uint32_t length, struct pfring_pkthdr *h, uint8_t wait)
{
	if (length || wait || p->at == 5)
		return 0;
	memset(h, 0, sizeof(*h));
	memset(p->data, p->at, sizeof(p->data));
	h->caplen = 60 + p->at;
	h->len = 1000 + p->at;
	h->nanoseconds = p->at == 2 ? 0 : 1700000000000000000ULL + p->at;
	h->interface = 7;
	*buffer = p->data;
	p->at++;
	return 1;
}

int pfring_stats(struct pfring *p, uint64_t *stats)
{
	stats[0] = p->at;
	stats[1] = 3;
	stats[2] = 0;
	return 0;
}
