package plugin

import "sync"

// mailbox holds the newest of something, numbered from 1.
type mailbox[T any] struct {
	mu     sync.Mutex
	value  *T
	number uint64
	next   chan struct{} // closed by the next put; nil: nobody waits
}

// put replaces what is in the box.
func (m *mailbox[T]) put(value *T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.value = value
	m.number++
	if m.next != nil {
		close(m.next)
		m.next = nil
	}
}

// get returns what is in the box, nil before the first, and what is closed when something newer comes.
func (m *mailbox[T]) get() (value *T, number uint64, next <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil {
		m.next = make(chan struct{})
	}
	return m.value, m.number, m.next
}
