package loader

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"structs"
)

// ruleSecret is what keys are hashed with.
type ruleSecret [2][ruleWords]uint64

// ruleImage is one generation of the kernel's tables.
type ruleImage struct {
	set       weirRuleset
	buckets   []weirRuleBucket
	bloom     []uint64
	guard     []uint64
	classes   []uint16 // nil: none
	rules     []weirRule
	payloads  []weirRulePayload
	limits    []weirRuleLimit
	ids       []uint64                   // by order
	payloadOf map[weirRulePayload]uint32 // where each is, + 1
	limitOf   map[uint64]int             // by ID: its bucket, index into limits
}

// tableEntry is struct rule_entry of bpf/abi_rules.h.
type tableEntry struct {
	_    structs.HostLayout
	Tag  uint64
	Rule uint32
	Word uint32
}

// ruleKey is one entry to be: a key's hash, and one of the rules that have it.
type ruleKey struct {
	a, b        uint64
	order       int32
	destination uint32 // its hash
}

// hashKey is hash_key of bpf/rule.h.
func hashKey(secret *ruleSecret, words *[ruleWords]uint32, n int) (a, b uint64) {
	for i := 0; i < n; i += 2 {
		x, y := uint64(words[i]), uint64(words[i+1])
		a += (x + secret[0][i]) * (y + secret[0][i+1])
		b += (x + secret[1][i]) * (y + secret[1][i+1])
	}
	return a, b
}

// guardBit is guard_bit of bpf/rule.h.
func guardBit(x, kind uint64) uint32 {
	x = (x ^ kind*0xbf58476d1ce4e5b9) * 0x9e3779b97f4a7c15
	x = (x ^ x>>32) * 0x94d049bb133111eb
	return uint32(x >> 32)
}

// hashDestination is hash_destination of bpf/rule.h.
func hashDestination(w *[ruleWords]uint32) uint32 {
	x := uint64(w[wordDestination]) + 3*uint64(w[wordDestination6]) + 5*uint64(w[wordDestination6+1]) + 7*uint64(w[wordDestination6+2])
	return uint32(x * 0x9e3779b97f4a7c15 >> 32)
}

var errCrowded = errors.New("both buckets of a key are full")

// image enters the rules into tables.
func (s *ruleSetup) image(room ruleSizes, secret ruleSecret) (*ruleImage, error) {
	im := &ruleImage{payloadOf: map[weirRulePayload]uint32{}, limitOf: map[uint64]int{}}
	im.set.Secret = secret
	im.set.Shapes = uint32(len(s.shapes))
	for i := range s.shapes {
		im.set.Shape[i] = s.shapes[i].kernel
	}
	keys, err := s.keys(&secret)
	if err != nil {
		return nil, err
	}
	if len(keys) > room.keys {
		return nil, fmt.Errorf("compile rules: they come to %d keys, more than the %d that there is room for; raise the room for rules", len(keys), room.keys)
	}
	buckets := powerOfTwo(max(len(keys)/2, 64))
	im.buckets = make([]weirRuleBucket, buckets)
	im.set.BucketMask = uint32(buckets - 1)
	im.spread(keys, room)
	if err := s.enter(im, keys, room); err != nil {
		return nil, err
	}
	s.classify(im)
	s.watch(im, room)
	for i := range s.rules {
		im.ids = append(im.ids, s.rules[i].entry.ID)
	}
	return im, nil
}

// keys hashes all keys of all rules, and sorts them so that rules with the same key stand together in their order.
func (s *ruleSetup) keys(secret *ruleSecret) ([]ruleKey, error) {
	keys := make([]ruleKey, 0, len(s.conditions)+len(s.conditions)/4)
	for i := range s.conditions {
		c, shape := &s.conditions[i], s.shapeOf[i]
		entry := s.rules[c.order].entry
		n := wordsNarrow
		if c.needs&hasIPv6 != 0 {
			n = ruleWords
		}
		before := len(keys)
		err := s.each(c, entry, s.shapes[shape].kernel.Number, func(words *[ruleWords]uint32) {
			a, b := hashKey(secret, words, n)
			keys = append(keys, ruleKey{a, b, int32(c.order), hashDestination(words)})
		})
		if err != nil {
			return nil, err
		}
		if len(keys)-before > MaxRuleKeys {
			return nil, entry.wrong("conditions", fmt.Sprintf("together they come to %d keys, more than %d", len(keys)-before, MaxRuleKeys))
		}
	}
	slices.SortFunc(keys, func(x, y ruleKey) int {
		return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b), cmp.Compare(x.order, y.order))
	})
	return slices.CompactFunc(keys, func(x, y ruleKey) bool { return x.a == y.a && x.b == y.b && x.order == y.order }), nil
}

// each calls f with every key of some conditions.
func (s *ruleSetup) each(c *conditions, entry *RuleEntry, number uint32, f func(*[ruleWords]uint32)) error {
	var words [ruleWords]uint32
	r := &entry.Rule
	if r.Destination.IsValid() {
		narrow, wide := addressWords(r.Destination.Addr().AsSlice())
		words[wordDestination] = narrow
		copy(words[wordDestination6:], wide[:])
	}
	if r.Source.IsValid() {
		narrow, wide := addressWords(r.Source.Addr().AsSlice())
		words[wordSource] = narrow
		copy(words[wordSource6:], wide[:])
	}
	words[wordRest] = number
	var choices [fieldCount][]uint32
	product := 1
	for field, v := range c.sets {
		if v == nil {
			continue
		}
		if c.coarse[field] {
			choices[field] = s.sets[field].classesOf(v)
		} else if v.count() <= MaxRuleKeys {
			v.each(func(x uint32) { choices[field] = append(choices[field], x) })
		}
		if len(choices[field]) == 0 && v.count() > 0 || product*len(choices[field]) > MaxRuleKeys {
			return entry.wrong(places()[field].name, fmt.Sprintf("its values, with those of the other conditions, come to more than %d keys", MaxRuleKeys))
		}
		product *= len(choices[field])
	}
	where := places()
	for n := range product {
		at := words
		for field, list := range choices {
			if c.sets[field] != nil {
				at[where[field].word] |= list[n%len(list)] << where[field].shift
				n /= len(list)
			}
		}
		f(&at)
	}
	return nil
}

// enter puts the keys into buckets.
func (s *ruleSetup) enter(im *ruleImage, keys []ruleKey, room ruleSizes) error {
	known := map[weirRule]uint32{}
	for from := 0; from < len(keys); {
		to := from + 1
		for to < len(keys) && keys[to].a == keys[from].a && keys[to].b == keys[from].b {
			to++
		}
		entry, err := s.chain(im, keys[from:to], known)
		if err != nil {
			return err
		}
		if len(im.rules) > room.complex || len(im.payloads) > room.complex || len(im.limits) > room.complex {
			return s.rules[keys[from].order].entry.wrong("room", fmt.Sprintf("more than %d rules have payloads or limits, or match what others match; raise the room for rules", room.complex))
		}
		if err := im.put(keys[from], entry); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// spread sizes the Bloom filter and divides its bits between the key and the key's destination: those of one destination are to
// be in as little memory as they fit into, at best a line of the cache.
func (im *ruleImage) spread(keys []ruleKey, room ruleSizes) {
	words := min(max(powerOfTwo(len(keys)/4), 256), room.bloom)
	im.bloom = make([]uint64, words)
	page := 8
	for page < words && fullest(keys, words/page, page) > page*64/3 { // what matches nothing gets past the fullest in 1 of 4 cases
		page *= 8
	}
	page = min(page, words)
	im.set.BloomWithin, im.set.BloomPage = uint32(page-1), uint32(words-page)
}

// fullest is how many keys the fullest of pages has.
func fullest(keys []ruleKey, pages, words int) int {
	count := make([]int, pages)
	for _, k := range keys {
		count[int(k.destination)/words&(pages-1)]++
	}
	return slices.Max(count)
}

func (im *ruleImage) bloomWord(k ruleKey) uint32 {
	return uint32(k.a>>38)&im.set.BloomWithin | k.destination&im.set.BloomPage
}

// put enters one key.
func (im *ruleImage) put(k ruleKey, e tableEntry) error {
	im.bloom[im.bloomWord(k)] |= 1<<(k.a>>32&63) | 1<<(k.a>>44&63) | 1<<(k.a>>56&63)
	e.Tag = k.a
	return putEntry(im.buckets, k.b, e)
}

// putEntry enters a key into its first bucket, or the second if that is emptier and the first has some already: most are found
// at the first look, and no bucket runs full. A key that is there already stays.
func putEntry(buckets []weirRuleBucket, b uint64, e tableEntry) error {
	if e.Tag == 0 {
		e.Tag = 1
	}
	mask := uint32(len(buckets) - 1)
	one, other := &buckets[uint32(b>>32)&mask], &buckets[uint32(b>>45)&mask]
	if one.has(e.Tag) || other.has(e.Tag) {
		return nil
	}
	if one.used() > 1 && other.used() < one.used() {
		one = other
	}
	n := one.used()
	if n == len(one.Entry) {
		return errCrowded
	}
	one.Entry[n] = e
	return nil
}

func (b *weirRuleBucket) has(tag uint64) bool {
	for i := range b.Entry {
		if b.Entry[i].Tag == tag {
			return true
		}
	}
	return false
}

func (b *weirRuleBucket) used() (n int) {
	for n < len(b.Entry) && b.Entry[n].Tag != 0 {
		n++
	}
	return n
}

// chain makes the entry of a key from the rules that have it.
func (s *ruleSetup) chain(im *ruleImage, keys []ruleKey, known map[weirRule]uint32) (tableEntry, error) {
	keys = s.needed(keys)
	first := &s.rules[keys[0].order]
	if len(keys) == 1 && first.plain() {
		return tableEntry{Rule: uint32(keys[0].order), Word: first.word}, nil
	}
	if len(keys) > MaxRuleChain {
		return tableEntry{}, s.rules[keys[MaxRuleChain].order].entry.wrong("conditions",
			fmt.Sprintf("%d rules before it look at the same values; at most %d may", MaxRuleChain, MaxRuleChain))
	}
	next := uint32(0)
	for _, k := range slices.Backward(keys) {
		c := &s.rules[k.order]
		r := weirRule{Order: uint32(k.order), Word: c.word, Next: next, Payload: im.payload(c), Limit: im.limit(c)}
		if c.sample {
			r.Sample = 1
		}
		at, ok := known[r]
		if !ok {
			at = uint32(len(im.rules))
			known[r] = at
			im.rules = append(im.rules, r)
		}
		next = at + 1
	}
	return tableEntry{Rule: next - 1, Word: rulingLook << ruleWordBits}, nil
}

// needed leaves out rules that never come to pass, because one before them has the key, all its packets, and ends no sooner.
func (s *ruleSetup) needed(keys []ruleKey) []ruleKey {
	for i, k := range keys {
		c := &s.rules[k.order]
		if c.loose || len(c.entry.Rule.Payload) > 0 {
			continue
		}
		later := keys[i+1:]
		if c.until == 0 || !slices.ContainsFunc(later, func(l ruleKey) bool { u := s.rules[l.order].until; return u == 0 || u > c.until }) {
			return keys[:i+1]
		}
	}
	return keys
}

// payload returns where a rule's bytes are, + 1.
func (im *ruleImage) payload(c *compiledRule) uint32 {
	if len(c.entry.Rule.Payload) == 0 {
		return 0
	}
	var p weirRulePayload
	for i, run := range c.entry.Rule.Payload {
		p.Run[i].Offset, p.Run[i].Length = run.Offset, uint16(len(run.Value))
		copy(p.Run[i].Value[:], run.Value)
		for j := range len(run.Value) {
			p.Run[i].Mask[j] = 0xff
			if run.Mask != "" {
				p.Run[i].Mask[j] = run.Mask[j]
			}
		}
	}
	at, ok := im.payloadOf[p]
	if !ok {
		im.payloads = append(im.payloads, p)
		at = uint32(len(im.payloads))
		im.payloadOf[p] = at
	}
	return at
}

// limit returns where a rule's token bucket is; all its keys share it.
func (im *ruleImage) limit(c *compiledRule) uint32 {
	if c.word>>ruleWordBits != rulingLimit {
		return 0
	}
	at, ok := im.limitOf[c.entry.ID]
	if !ok {
		at = len(im.limits)
		im.limitOf[c.entry.ID] = at
		im.limits = append(im.limits, c.limit)
	}
	return uint32(at)
}

// classify writes down the classes of all values.
func (s *ruleSetup) classify(im *ruleImage) {
	if !s.anyClass {
		return
	}
	im.classes = make([]uint16, classCount)
	for f, where := range places() {
		if len(s.sets[f].all) > 0 {
			im.set.AnyClass |= 1 << min(f, int(fieldProtocol)) // HAS_CLASS_ of bpf/abi_rules.h
			s.sets[f].partition.each(where.largest, func(v uint32, class uint16) { im.classes[where.classes+int(v)] = class })
		}
	}
}

// watch marks the hosts that rules are for, in as few bits as do.
func (s *ruleSetup) watch(im *ruleImage, room ruleSizes) {
	g := guard{}
	for words := 1 << 11; ; words *= 4 {
		words = min(words, room.guard)
		g = guard{bits: make([]uint64, words)}
		s.mark(&g)
		if g.all || words == room.guard || g.ones() <= words*64/8 {
			break
		}
	}
	im.guard, im.set.GuardMask = g.bits, uint32(len(g.bits)*64-1)
	if g.bySource {
		im.set.BySource = 1
	}
	if g.all || g.ones() > len(g.bits)*32 { // half full, it spares little
		im.set.GuardAll = 1
	}
}

func (s *ruleSetup) mark(g *guard) {
	for i := range s.rules {
		r := &s.rules[i].entry.Rule
		p, offset, kind := r.Destination, r.DestinationOffset, uint64(0)
		if !p.IsValid() {
			p, offset, kind = r.Source, r.SourceOffset, 2
			g.bySource = true
		}
		if offset != 0 {
			g.all = true
		}
		g.add(p, kind)
	}
}
