// Package kafka writes attacks, traffic and flow records to topics of Kafka.
package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// How values are written.
const (
	JSON               = "json"
	Protobuf           = "protobuf"            // weirkafka/weir.proto
	FastNetMonJSON     = "fastnetmon-json"     // flow records only
	FastNetMonProtobuf = "fastnetmon-protobuf" // flow records only: weirkafka/fastnetmon.proto
)

// How many brokers must have a record before it counts as written.
const (
	AcksAll    = "all" // all replicas that are in sync
	AcksLeader = "leader"
	AcksNone   = "none" // as FastNetMon does: what is lost on the way is not noticed
)

// What a flow record's key is made of. Records of one key keep their order, and go to one partition.
const (
	KeyNone        = ""            // spread evenly, which is best under attack
	KeyExporter    = "exporter"    // its address
	KeyDestination = "destination" // the address; an attack on one host then goes to one partition
)

// Options says where to write and what. Attacks and hosts have the address as their key, networks the prefix, hostgroups the name:
// those of one key keep their order.
type Options struct {
	Brokers []string // host:port, of some of the cluster's brokers; at least one

	Attacks string // topic of changes of attacks; empty: they are not written
	Traffic string // topic of rates; empty: they are not written
	Flows   string // topic of flow records; empty: they are not written

	NoHosts, NoNetworks, NoGroups, NoTotals bool // what of traffic is left out

	Format     string // of attacks and traffic: JSON (default) or Protobuf
	FlowFormat string // of flow records: JSON, Protobuf, FastNetMonJSON or FastNetMonProtobuf; empty: as Format
	FlowKey    string // KeyNone, KeyExporter or KeyDestination

	Acks          string        // AcksAll (default), AcksLeader or AcksNone
	NotIdempotent bool          // with AcksAll: retries may write twice, and the cluster need not allow idempotent writes
	Compression   string        // lz4 (default), none, gzip, snappy or zstd
	Linger        time.Duration // how long a batch waits to be filled; default 5 ms
	MaxRecord     int           // bytes of one record or batch, not more than the topic's max.message.bytes; default 1,000,000
	Buffer        int           // records that are on their way at once; default 10,000
	CreateTopics  bool          // ask the cluster to create topics that are not there
	ClientID      string        // default "weir"

	TLS       *tls.Config // nil: in the clear
	Mechanism string      // of SASL: "plain", "scram-sha-256", "scram-sha-512"; empty: no login
	User      string
	Password  string
}

func oneOf(what, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("set %s of Kafka: unknown %q; expected one of %s", what, value, strings.Join(values, ", "))
}

// check completes the options and says everything that is wrong with them.
func (o *Options) check() error {
	for _, s := range []struct {
		value    *string
		standard string
	}{{&o.Format, JSON}, {&o.FlowFormat, ""}, {&o.Acks, AcksAll}, {&o.Compression, "lz4"}, {&o.ClientID, "weir"}} {
		if *s.value == "" {
			*s.value = s.standard
		}
	}
	if o.FlowFormat == "" {
		o.FlowFormat = o.Format
	}
	if o.Linger == 0 {
		o.Linger = 5 * time.Millisecond
	}
	if o.MaxRecord == 0 {
		o.MaxRecord = 1_000_000
	}
	if o.Buffer == 0 {
		o.Buffer = 10_000
	}
	errs := []error{
		oneOf("format", o.Format, JSON, Protobuf),
		oneOf("flow format", o.FlowFormat, JSON, Protobuf, FastNetMonJSON, FastNetMonProtobuf),
		oneOf("flow key", o.FlowKey, KeyNone, KeyExporter, KeyDestination),
		oneOf("acks", o.Acks, AcksAll, AcksLeader, AcksNone),
		oneOf("compression", o.Compression, "none", "gzip", "snappy", "lz4", "zstd"),
		oneOf("SASL mechanism", o.Mechanism, "", "plain", "scram-sha-256", "scram-sha-512"),
	}
	if len(o.Brokers) == 0 {
		errs = append(errs, errors.New("set brokers of Kafka: there is none; name at least one as host:port"))
	}
	for _, b := range o.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("set brokers of Kafka: %q: %w; write it as host:port", b, err))
		}
	}
	if o.Attacks == "" && o.Traffic == "" && o.Flows == "" {
		errs = append(errs, errors.New("set topics of Kafka: there is none; name one for attacks, traffic or flow records"))
	}
	if o.Linger < 0 || o.Linger > time.Second {
		errs = append(errs, fmt.Errorf("set linger of Kafka: %s; expected up to 1s", o.Linger))
	}
	if o.MaxRecord < 1024 || o.MaxRecord > 64<<20 {
		errs = append(errs, fmt.Errorf("set longest record of Kafka: %d bytes; expected 1024 to 67108864", o.MaxRecord))
	}
	if o.Buffer < 1 || o.Buffer > 1_000_000 {
		errs = append(errs, fmt.Errorf("set buffer of Kafka: %d records; expected 1 to 1000000", o.Buffer))
	}
	if (o.Mechanism == "") != (o.User == "") {
		errs = append(errs, errors.New("set login of Kafka: a SASL mechanism and a user belong together"))
	}
	return errors.Join(errs...)
}

// client is what the client library is told. The options have been checked.
func (o *Options) client(dial *dialing) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID(o.ClientID),
		kgo.MaxBufferedRecords(o.Buffer),
		kgo.ProducerLinger(o.Linger),
		kgo.ProducerBatchMaxBytes(int32(o.MaxRecord)),
		kgo.BrokerMaxWriteBytes(int32(max(o.MaxRecord, 100<<20))),
		kgo.ProducerBatchCompression(o.codec()),
		kgo.RequiredAcks(o.acks()),
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(64<<10, true, true, nil)),
		kgo.RetryBackoffFn(backoff),
		kgo.WithHooks(dial),
	}
	if o.Acks != AcksAll || o.NotIdempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	if o.CreateTopics {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS.Clone()))
	}
	if m := o.login(); m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return opts
}

// backoff is the library's own pause between two tries of a request, cut short: a call has seconds, not minutes.
func backoff(try int) time.Duration {
	return min(100*time.Millisecond<<min(try, 5), time.Second)
}

func (o *Options) acks() kgo.Acks {
	switch o.Acks {
	case AcksLeader:
		return kgo.LeaderAck()
	case AcksNone:
		return kgo.NoAck()
	}
	return kgo.AllISRAcks()
}

func (o *Options) codec() kgo.CompressionCodec {
	switch o.Compression {
	case "none":
		return kgo.NoCompression()
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.Lz4Compression()
}

func (o *Options) login() sasl.Mechanism {
	switch o.Mechanism {
	case "plain":
		return plain.Auth{User: o.User, Pass: o.Password}.AsMechanism()
	case "scram-sha-256":
		return scram.Auth{User: o.User, Pass: o.Password}.AsSha256Mechanism()
	case "scram-sha-512":
		return scram.Auth{User: o.User, Pass: o.Password}.AsSha512Mechanism()
	}
	return nil
}
