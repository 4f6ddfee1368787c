// Package kafka takes flow records that GoFlow2 or Akvorado have written to Kafka.
package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"weir/userspace/traffic"
)

// Format is whose messages a topic holds.
type Format uint8

const (
	GoFlow2  Format = iota // FlowMessage of GoFlow2, version 2
	Akvorado               // enriched flows of Akvorado's outlet
)

// Framing is how messages lie in the value of a Kafka record.
type Framing uint8

const (
	FramingAuto      Framing = iota // one message, with its length before it or without: GoFlow2's bin format has it
	FramingDelimited                // any number of messages, each with its length before it, as Akvorado wrote before its version 2
	FramingPlain                    // one message
)

// Options says what to read and how.
type Options struct {
	Brokers  []string // host:port, of some of the cluster's brokers; at least one
	Topics   []string // at least one
	Group    string   // consumer group: its members share the topics' partitions; empty: all partitions are read
	ClientID string   // default "weir"

	Format  Format
	Framing Framing
	// Schema is a .proto file; empty: of GoFlow2 2.x or of the Akvorado of 2026 that is built in. Akvorado numbers its fields
	// anew with every column that is added: its outlet serves the file of its version.
	Schema string

	Rate   uint32        // sampling rate of records that name none; 0: their rate is unknown (traffic.RateUnknown)
	MaxAge time.Duration // messages that were written longer ago, as after a standstill, are passed over; default 1 minute, negative: none are
	Memory int32         // bytes, of what one broker is asked for at once; default 16 MiB

	TLS       *tls.Config // nil: in the clear
	Mechanism string      // of SASL: "plain", "scram-sha-256", "scram-sha-512"; empty: no login
	User      string
	Password  string

	// Sink takes each record, in the goroutine that runs Run: records of one partition in their order. Nothing of the Flow may be kept.
	// A record's Exporter is the zero Addr where the message names none.
	Sink func(*traffic.Flow)
}

// check completes the options and says everything that is wrong with them.
func (o *Options) check() error {
	if o.ClientID == "" {
		o.ClientID = "weir"
	}
	if o.MaxAge == 0 {
		o.MaxAge = time.Minute
	}
	if o.Memory == 0 {
		o.Memory = 16 << 20
	}
	var errs []error
	if len(o.Brokers) == 0 {
		errs = append(errs, errors.New("set brokers of Kafka: there is none; name at least one as host:port"))
	}
	for _, b := range o.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("set brokers of Kafka: %q: %w; write it as host:port", b, err))
		}
	}
	if len(o.Topics) == 0 {
		errs = append(errs, errors.New("set topics of Kafka: there is none; name at least one that flow records are written to"))
	}
	if o.Memory < 1<<16 || o.Memory > 1<<30 {
		errs = append(errs, fmt.Errorf("set memory of Kafka: %d bytes; expected 65536 to 1073741824", o.Memory))
	}
	if o.Format > Akvorado || o.Framing > FramingPlain {
		errs = append(errs, fmt.Errorf("set format of Kafka: unknown format %d or framing %d", o.Format, o.Framing))
	}
	switch o.Mechanism {
	case "", "plain", "scram-sha-256", "scram-sha-512":
	default:
		errs = append(errs, fmt.Errorf("set SASL mechanism of Kafka: unknown %q; expected plain, scram-sha-256 or scram-sha-512", o.Mechanism))
	}
	if (o.Mechanism == "") != (o.User == "") {
		errs = append(errs, errors.New("set login of Kafka: a SASL mechanism and a user belong together"))
	}
	if o.Sink == nil {
		errs = append(errs, errors.New("set sink of flow records from Kafka: there is none"))
	}
	return errors.Join(errs...)
}

// client is what the client library is told, without what concerns the source itself.
func (o *Options) client() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(o.ClientID),
		kgo.ConsumeTopics(o.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.FetchMaxBytes(o.Memory),
		kgo.FetchMaxPartitionBytes(min(o.Memory, 1<<20)),
		kgo.MetadataMinAge(500 * time.Millisecond), // how soon a partition that has moved is looked for again
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.RetryBackoffFn(func(try int) time.Duration { return min(100*time.Millisecond<<min(try, 6), 5*time.Second) }),
	}
	if o.Group != "" {
		opts = append(opts, kgo.ConsumerGroup(o.Group))
	}
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS.Clone()))
	}
	switch o.Mechanism {
	case "plain":
		opts = append(opts, kgo.SASL(plain.Auth{User: o.User, Pass: o.Password}.AsMechanism()))
	case "scram-sha-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: o.Password}.AsSha256Mechanism()))
	case "scram-sha-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: o.Password}.AsSha512Mechanism()))
	}
	return opts
}
