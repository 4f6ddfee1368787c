package enrich

import (
	"container/list"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"weir/userspace/traffic"
)

// nameAge is how long a name is remembered, and namesAtOnce how many are asked for at a time.
const (
	nameAge     = time.Hour
	namesAtOnce = 8
)

// names asks for the names of addresses and remembers a bounded number of them.
type names struct {
	resolver Resolver
	timeout  time.Duration
	most     int

	mu    sync.Mutex
	known map[netip.Addr]*list.Element // of *named
	order *list.List                   // the least recently used one last
}

type named struct {
	addr netip.Addr
	name string // empty: it has none
	at   time.Time
}

func newNames(o Options) *names {
	n := &names{resolver: o.Resolver, timeout: o.NameTimeout, most: o.NameCache, known: map[netip.Addr]*list.Element{}, order: list.New()}
	if n.resolver == nil {
		n.resolver = net.DefaultResolver
	}
	if n.timeout <= 0 {
		n.timeout = DefaultNameTimeout
	}
	if n.most <= 0 {
		n.most = DefaultNameCache
	}
	return n
}

// fill completes the names of sources as far as they are known or come in time. What comes too late is known the next time.
func (n *names) fill(ctx context.Context, sources []traffic.SourceShare) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	var wait sync.WaitGroup
	turns := make(chan struct{}, namesAtOnce)
	for i := range sources {
		s := &sources[i]
		if name, ok := n.get(s.Source); ok {
			s.Name = name
			continue
		}
		wait.Go(func() {
			select {
			case turns <- struct{}{}:
				defer func() { <-turns }()
			case <-ctx.Done():
				return
			}
			found, err := n.resolver.LookupAddr(ctx, s.Source.String())
			if err != nil && ctx.Err() != nil {
				return // nobody has said that there is none
			}
			if len(found) > 0 {
				s.Name = clean(found[0])
			}
			n.put(s.Source, s.Name)
		})
	}
	wait.Wait()
}

// clean takes the last dot off, and all that could do harm in a message: whoever owns an address may call it anything.
func clean(name string) string {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}) {
		return ""
	}
	return name
}

func (n *names) get(a netip.Addr) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.known[a]
	if !ok || time.Since(e.Value.(*named).at) > nameAge {
		return "", false
	}
	n.order.MoveToFront(e)
	return e.Value.(*named).name, true
}

func (n *names) put(a netip.Addr, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e, ok := n.known[a]; ok {
		n.order.Remove(e)
	}
	n.known[a] = n.order.PushFront(&named{a, name, time.Now()})
	if n.order.Len() > n.most {
		last := n.order.Remove(n.order.Back()).(*named)
		delete(n.known, last.addr)
	}
}
