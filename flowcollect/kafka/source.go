package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Source reads flow records from topics.
type Source struct {
	options Options
	decoder *decoder      // of Run's goroutine
	check   time.Duration // how often is asked whether topics are still the same

	mu    sync.Mutex // guards what follows
	stats Stats
	lag   map[partition]int64
}

type partition struct {
	topic  string
	number int32
}

// Stats is what has been read since the start.
type Stats struct {
	Connected   bool // brokers have answered, and nothing has failed since
	Messages    uint64
	Records     uint64 // handed to the sink
	Errors      uint64 // messages that could not be decoded
	NotIP       uint64 // records without IP addresses
	Late        uint64 // messages that were passed over because they had been written too long ago
	Failures    uint64 // to reach brokers or to read a partition
	Lag         int64  // messages that wait in our partitions, as of their last reading
	Partitions  int    // ours, of which something has been read
	LastError   string
	LastErrorAt time.Time
}

// New checks the options. It connects to nothing.
func New(o Options) (*Source, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	d, err := newDecoder(&o)
	if err != nil {
		return nil, err
	}
	s := &Source{options: o, decoder: d, check: 5 * time.Second, lag: map[partition]int64{}}
	if err := kgo.ValidateOpts(s.clientOptions()...); err != nil {
		return nil, fmt.Errorf("set options of Kafka: %w", err)
	}
	return s, nil
}

// Stats may be called by any goroutine.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	for _, n := range s.lag {
		stats.Lag += n
	}
	stats.Partitions = len(s.lag)
	return stats
}

// Run reads until ctx ends, and then returns nil. All records go to the sink from this one goroutine. A cluster that is away, or comes back, is
// waited for. What a group had not read when its members stopped is read later, as far as it is younger than MaxAge; what is new to a group, or
// read without one, is read from its end on.
func (s *Source) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.session(ctx); err != nil {
			return err
		}
		pause(ctx, 250*time.Millisecond)
	}
	return nil
}

// session reads by one client, until ctx ends or a topic has been deleted and made anew: the library then goes on asking for the old one, and
// tells nobody.
func (s *Source) session(ctx context.Context) error {
	client, err := kgo.NewClient(s.clientOptions()...)
	if err != nil {
		return fmt.Errorf("set up Kafka: %w", err)
	}
	// A broker that accepts a connection and says nothing would hold up the library for longer than ctx lasts.
	shut := sync.OnceFunc(client.CloseAllowingRebalance) // two at once would race
	defer context.AfterFunc(ctx, shut)()
	defer shut()
	if !s.reach(ctx, client) {
		return nil
	}
	s.mu.Lock()
	clear(s.lag)
	s.mu.Unlock()
	ids, checked := s.topicIDs(ctx, client, nil), time.Now()
	for ctx.Err() == nil {
		s.poll(ctx, client)
		if time.Since(checked) < s.check {
			continue
		}
		now := s.topicIDs(ctx, client, ids)
		for topic, id := range now {
			if before, known := ids[topic]; known && id != before {
				s.fail(fmt.Errorf("read topic %q of Kafka: it has been deleted and made anew", topic))
				return nil
			}
		}
		ids, checked = now, time.Now()
	}
	return nil
}

// poll takes what has come, and waits for it no longer than until topics are to be checked again.
func (s *Source) poll(ctx context.Context, client *kgo.Client) {
	wait, cancel := context.WithTimeout(ctx, s.check)
	defer cancel()
	fetches := client.PollFetches(wait)
	if ctx.Err() != nil || fetches.IsClientClosed() {
		return
	}
	failed := false
	fetches.EachError(func(topic string, number int32, err error) {
		if errors.Is(err, context.DeadlineExceeded) && wait.Err() != nil {
			return
		}
		failed = true
		s.fail(fmt.Errorf("read topic %q partition %d of Kafka: %w%s", topic, number, err, remedy(err)))
	})
	fetches.EachPartition(func(p kgo.FetchTopicPartition) { s.partition(p) })
	read := fetches.NumRecords() > 0
	if read && !failed {
		s.connected()
	}
	// The library repeats an error at once, and itself tries again later.
	if failed && !read {
		pause(ctx, 250*time.Millisecond)
	}
}

// topicIDs asks for the identities of our topics, as far as they have any. What is not known now stays as before.
func (s *Source) topicIDs(ctx context.Context, client *kgo.Client, before map[string][16]byte) map[string][16]byte {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request := kmsg.NewPtrMetadataRequest()
	for _, t := range s.options.Topics {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(t)
		request.Topics = append(request.Topics, topic)
	}
	ids := maps.Clone(before)
	if ids == nil {
		ids = map[string][16]byte{}
	}
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return ids // the connection's failure has been noted
	}
	for _, t := range answer.Topics {
		if t.Topic != nil && t.ErrorCode == 0 && t.TopicID != [16]byte{} {
			ids[*t.Topic] = t.TopicID
		}
	}
	return ids
}

// reach waits until a broker has answered: what stands in the way of that, such as a wrong password, would never show otherwise.
func (s *Source) reach(ctx context.Context, client *kgo.Client) bool {
	for wait := 250 * time.Millisecond; ; wait = min(wait*2, 10*time.Second) {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := client.Ping(try)
		cancel()
		if err == nil {
			s.connected()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.fail(fmt.Errorf("connect to Kafka %s: %w%s", strings.Join(s.options.Brokers, ", "), err, remedy(err)))
		if !pause(ctx, wait) {
			return false
		}
	}
}

// pause reports whether the context still goes on after d.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// partition takes what was read of one partition.
func (s *Source) partition(p kgo.FetchTopicPartition) {
	if len(p.Records) == 0 {
		return
	}
	d := s.decoder
	before, skipped := d.records, d.notIP
	oldest := time.Time{}
	if s.options.MaxAge > 0 {
		oldest = time.Now().Add(-s.options.MaxAge)
	}
	var late, broken uint64
	var last error
	for _, r := range p.Records {
		if r.Timestamp.Before(oldest) {
			late++
			continue
		}
		if err := d.message(r.Value); err != nil {
			broken++
			last = fmt.Errorf("decode message of topic %q partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	end := p.Records[len(p.Records)-1].Offset + 1
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Messages += uint64(len(p.Records))
	s.stats.Records += d.records - before
	s.stats.NotIP += d.notIP - skipped
	s.stats.Late += late
	s.stats.Errors += broken
	if last != nil {
		s.stats.LastError, s.stats.LastErrorAt = last.Error(), time.Now()
	}
	s.lag[partition{p.Topic, p.Partition}] = max(p.HighWatermark-end, 0)
}

func (s *Source) connected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Connected = true
}

func (s *Source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Connected = false
	s.stats.Failures++
	s.stats.LastError, s.stats.LastErrorAt = err.Error(), time.Now()
}

// OnBrokerConnect is called by the client library for every connection that it has tried to make. Without it a cluster that has gone away would
// not show: the library goes on trying without a word.
func (s *Source) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	switch {
	case err == nil:
		s.connected()
	case !errors.Is(err, context.Canceled):
		s.fail(fmt.Errorf("connect to Kafka: %w", err))
	}
}

// lost forgets partitions that are another member's now.
func (s *Source) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, numbers := range partitions {
		for _, n := range numbers {
			delete(s.lag, partition{topic, n})
		}
	}
}

func (s *Source) clientOptions() []kgo.Opt {
	opts := append(s.options.client(), kgo.WithHooks(s))
	if s.options.Group != "" {
		opts = append(opts, kgo.OnPartitionsRevoked(s.lost), kgo.OnPartitionsLost(s.lost))
	}
	return opts
}

// remedy is what the operator can do about an error; empty: nothing, or it is plain.
func remedy(err error) string {
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "; check user and password"
	case errors.Is(err, io.EOF):
		return "; the broker hung up: check TLS, the SASL mechanism, user and password"
	case errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return "; set the SASL mechanism that the brokers offer"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "; check the topic's name"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed):
		return "; allow the user to read the topic as a member of the group"
	}
	return ""
}
