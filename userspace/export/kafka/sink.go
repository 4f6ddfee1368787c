package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/userspace/traffic"
)

// Sink writes to the topics of a cluster. Its methods are for one goroutine.
//
// What it is given is written at least once. Tell and Flows say by Unsent how many of the last values may be missing; what stands before them
// has been written, and some of what stands behind may have been, too.
type Sink struct {
	options Options
	client  *kgo.Client // nil: not connected
	dial    *dialing

	// A batch on its way. The buffers are used again once the library has given back all of its records.
	bytes   []byte
	spans   []span
	records []kgo.Record
	results []error
	key     []byte
}

// span is where a record's key and value end in a batch's bytes.
type span struct{ key, value int }

// New checks the options. It connects to nothing.
func New(o Options) (*Sink, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Sink{options: o, dial: &dialing{}}
	if err := kgo.ValidateOpts(o.client(s.dial)...); err != nil {
		return nil, fmt.Errorf("set options of Kafka: %w", err)
	}
	return s, nil
}

// Close breaks the connections.
func (s *Sink) Close() error {
	s.drop()
	return nil
}

// dialing remembers why the last connection could not be made: the library goes on trying, and in the end tells of the deadline alone.
type dialing struct {
	mu  sync.Mutex
	err error
}

// OnBrokerConnect is called by the client library.
func (d *dialing) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *dialing) last() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// connect sees to it that there is a client that a broker has answered, logged in.
func (s *Sink) connect(ctx context.Context) error {
	if s.client != nil {
		return nil
	}
	client, err := kgo.NewClient(s.options.client(s.dial)...)
	if err != nil {
		return fmt.Errorf("set up Kafka: %w", err)
	}
	// A broker that accepts a connection and says nothing holds up the library for longer than ctx lasts, unless the client is closed.
	shut := sync.OnceFunc(client.CloseAllowingRebalance) // two at once would race
	stop := context.AfterFunc(ctx, shut)
	err = client.Ping(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		shut()
		return fmt.Errorf("connect to Kafka %s: %w%s", strings.Join(s.options.Brokers, ", "), s.cause(ctx, err), remedy(err))
	}
	s.client = client
	return nil
}

// drop lets go of the client and of the buffers that it may still be reading from.
func (s *Sink) drop() {
	if s.client != nil {
		s.client.CloseAllowingRebalance()
	}
	s.client = nil
	s.bytes, s.spans, s.records, s.results = nil, nil, nil, nil
}

// cause says what has stood in the way where the library says only that ctx, or the client at the end of ctx, is closed.
func (s *Sink) cause(ctx context.Context, err error) error {
	if errors.Is(err, kgo.ErrClientClosed) && ctx.Err() != nil {
		err = fmt.Errorf("no answer: %w", ctx.Err())
	}
	if last := s.dial.last(); last != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, last)
	}
	return err
}

func remedy(err error) string {
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "; check user and password"
	case errors.Is(err, io.EOF):
		return "; the broker hung up: check TLS, the SASL mechanism, user and password"
	case errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return "; set the SASL mechanism that the brokers offer"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "; create the topic, or allow Weir to"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "; allow the user to write"
	}
	return ""
}

// lasting reports whether the same record would be refused again.
func lasting(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
}

// Unsent is an error that some of what a call was given may not have been written.
type Unsent struct {
	last int
	err  error
}

func (u *Unsent) Error() string { return u.err.Error() }
func (u *Unsent) Unwrap() error { return u.err }

// Unsent is how many of the last values the sink has not taken.
func (u *Unsent) Unsent() int { return u.last }

// add ends a record whose value has been appended to s.bytes from start on. Its key follows the value.
func (s *Sink) add(key []byte) {
	value := len(s.bytes)
	s.bytes = append(s.bytes, key...)
	s.spans = append(s.spans, span{value: value, key: len(s.bytes)})
}

// full reports whether as many records have gathered as may be on their way at once.
func (s *Sink) full() bool { return len(s.spans) >= s.options.Buffer }

// send writes the records that have gathered to topic and waits until all have been answered. first is the first that was not written; -1: all were.
func (s *Sink) send(ctx context.Context, topic string) (first int, err error) {
	n := len(s.spans)
	if n == 0 {
		return -1, nil
	}
	s.records = grow(s.records, n)
	s.results = grow(s.results, n)
	start := 0
	var done sync.WaitGroup
	done.Add(n)
	for i, at := range s.spans {
		r := &s.records[i]
		*r = kgo.Record{Topic: topic, Value: s.bytes[start:at.value:at.value]}
		if at.key > at.value {
			r.Key = s.bytes[at.value:at.key:at.key]
		}
		start = at.key
		result := &s.results[i]
		s.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			*result = err
			done.Done()
		})
	}
	if err := s.client.Flush(ctx); err != nil {
		// Closing the client ends what is still on its way, so that nobody reads the buffers when they go.
		s.client.CloseAllowingRebalance()
	}
	done.Wait()
	s.bytes, s.spans = s.bytes[:0], s.spans[:0]
	for i, err := range s.results {
		if err != nil {
			return i, s.refused(ctx, topic, err)
		}
	}
	return -1, nil
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, max(n, 2*cap(s)))
	}
	return s[:n]
}

// refused words why a record was not written, and begins anew unless it is the record's fault.
func (s *Sink) refused(ctx context.Context, topic string, err error) error {
	if lasting(err) {
		return fmt.Errorf("write to topic %q of Kafka: %w: %w; raise max.message.bytes of the topic and the longest record of Weir", topic, traffic.ErrPermanent, err)
	}
	err = fmt.Errorf("write to topic %q of Kafka: %w%s", topic, s.cause(ctx, err), remedy(err))
	s.drop()
	return err
}
