// Package redis writes attacks to Redis: FastNetMon's keys, and each change as JSON to a channel and a stream.
//
// FastNetMon's keys are written when a target is banned: ADDRESS_information (JSON), ADDRESS_packets_dump (text) when packets were gathered,
// all behind "PREFIX_" if there is a prefix. A hostgroup's name or a prefix takes the address' place where a whole one is attacked.
// In a dry run they are not written: who reads them takes the target to be banned.
// What goes to the channel and the stream is the JSON that package eventjson describes; in the stream it is the field "json", beside "id" and "kind".
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"weir/userspace/eventjson"
	"weir/userspace/fastnetmon"
	"weir/userspace/traffic"
)

// DefaultAddress is where Redis listens unless told otherwise.
const DefaultAddress = "127.0.0.1:6379"

// DefaultStreamLength is how many entries a stream keeps, about.
const DefaultStreamLength = 100_000

// Options says which server, and what is written. Zero fields stand for what is said of them.
type Options struct {
	Addresses        []string // host:port of the server, or of several nodes of a cluster, or of sentinels; none: DefaultAddress
	Cluster          bool     // Addresses are nodes of a cluster
	Sentinel         string   // Addresses are sentinels, and this is the name of the master
	Database         int      // not of a cluster
	Username         string
	Password         string
	SentinelUsername string // of the sentinels, as the next
	SentinelPassword string
	TLS              *tls.Config // nil: in the clear

	Keys         bool          // FastNetMon's keys
	Prefix       string        // of keys
	TTL          time.Duration // of keys; 0: they stay
	KeepUnbanned bool          // keys stay when the ban is lifted, as with FastNetMon
	Channel      string        // empty: nothing is published
	Stream       string        // empty: nothing is added to a stream
	StreamLength int64         // entries of it, about; 0: DefaultStreamLength
}

// Sink writes to Redis. Its methods are called by one goroutine at a time.
type Sink struct {
	options Options
	client  redis.UniversalClient // nil: not connected
}

// New returns a Sink that connects when it is first told something.
func New(o Options) (*Sink, error) {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{DefaultAddress}
	}
	if o.StreamLength <= 0 {
		o.StreamLength = DefaultStreamLength
	}
	switch {
	case o.Cluster && o.Sentinel != "":
		return nil, errors.New("use Redis by a cluster and by sentinels: expected one of them")
	case o.Cluster && o.Database != 0:
		return nil, fmt.Errorf("use database %d of a cluster: a cluster has database 0 alone", o.Database)
	case len(o.Addresses) > 1 && !o.Cluster && o.Sentinel == "":
		return nil, fmt.Errorf("use %d addresses: expected one, or those of a cluster or of sentinels", len(o.Addresses))
	case o.TTL < 0 || o.TTL > 0 && o.TTL < time.Millisecond:
		return nil, fmt.Errorf("keep keys in Redis for %s: expected 1ms or more, or 0 for ever", o.TTL)
	case !o.Keys && o.Channel == "" && o.Stream == "":
		return nil, errors.New("write nothing to Redis: expected keys, a channel or a stream")
	}
	return &Sink{options: o}, nil
}

// connect sets up the client, which connects by itself when it is used, and again after a failure.
func (s *Sink) connect() {
	if s.client != nil {
		return
	}
	silence()
	o := &s.options
	s.client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:         slices.Clone(o.Addresses), // it appends to them
		IsClusterMode: o.Cluster, MasterName: o.Sentinel, DB: o.Database, Username: o.Username, Password: o.Password,
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword, TLSConfig: o.TLS,
		IdentitySuffix: "weir", // in CLIENT LIST; to set a name would take a right that a user may not have
		// The runner tries again; one connection does for one goroutine.
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1, ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// silence is once for all clients of the process: the library has one logger. What goes wrong is in the errors.
var silence = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

// silent takes what the client library would write to standard error.
type silent struct{}

// Printf does nothing.
func (silent) Printf(context.Context, string, ...any) {}

// Tell writes all changes, and publishes them when they are written. After an error all are told again: entries of the stream may then be there twice.
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	s.connect()
	stored, published := s.client.Pipeline(), s.client.Pipeline()
	for i := range changes {
		if err := s.add(ctx, stored, published, &changes[i]); err != nil {
			return fmt.Errorf("write attack %s as JSON: %w: %w", changes[i].Record.Attack.ID, traffic.ErrPermanent, err)
		}
	}
	for _, pipe := range []redis.Pipeliner{stored, published} {
		if pipe.Len() == 0 {
			continue
		}
		if err := s.exec(ctx, pipe); err != nil {
			return s.explain(err)
		}
	}
	return nil
}

// exec sends what is queued. It is back when the context ends: of a cluster's nodes the library asks some things with a patience of its own.
func (s *Sink) exec(ctx context.Context, pipe redis.Pipeliner) error {
	done := make(chan error, 1)
	go func() {
		_, err := pipe.Exec(ctx)
		done <- err
	}()
	select {
	case err := <-done:
		if cause := ctx.Err(); err != nil && cause != nil && !errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", cause, err)
		}
		return err
	case <-ctx.Done():
		client := s.client
		s.client = nil // the next call begins anew
		go func() {
			<-done
			_ = client.Close() // which nobody waits for any more
		}()
		return ctx.Err()
	}
}

// add queues what one change has written and published.
func (s *Sink) add(ctx context.Context, stored, published redis.Pipeliner, c *traffic.Change) error {
	o := &s.options
	if o.Keys && !c.Record.Ban.DryRun {
		if err := s.addKeys(ctx, stored, c); err != nil {
			return err
		}
	}
	if o.Channel == "" && o.Stream == "" {
		return nil
	}
	text, err := eventjson.Change(c)
	if err != nil {
		return err
	}
	if o.Stream != "" {
		stored.XAdd(ctx, &redis.XAddArgs{
			Stream: o.Stream, MaxLen: o.StreamLength, Approx: true,
			Values: []any{"id", c.Record.Attack.ID, "kind", c.Kind.String(), "json", text},
		})
	}
	if o.Channel != "" {
		published.Publish(ctx, o.Channel, text)
	}
	return nil
}

// addKeys queues FastNetMon's keys.
func (s *Sink) addKeys(ctx context.Context, pipe redis.Pipeliner, c *traffic.Change) error {
	o := &s.options
	key := fastnetmon.Key(o.Prefix, c.Record.Attack.Target)
	switch c.Kind {
	case traffic.ChangeBanned, traffic.ChangeDetails:
		more := c.Kind == traffic.ChangeDetails
		if more && (len(c.Packets) == 0 || !c.Record.Ban.Active()) {
			return nil // nothing to add, or what it would be added to has gone
		}
		text, err := fastnetmon.Document(fastnetmon.Ban, c)
		if err != nil {
			return err
		}
		pipe.Set(ctx, key+"_information", text, o.TTL)
		if more {
			pipe.Set(ctx, key+"_packets_dump", dump(c.Report), o.TTL)
		}
	case traffic.ChangeUnbanned:
		if !o.KeepUnbanned {
			pipe.Unlink(ctx, key+"_information")
			pipe.Unlink(ctx, key+"_packets_dump")
		}
	}
	return nil
}

// dump is the part of the text report that lists packets.
func dump(report string) string {
	_, packets, found := strings.Cut(report, "Attack traffic dump\n\n")
	if !found {
		return report
	}
	packets, _, _ = strings.Cut(packets, "\n\nFlow dump")
	return packets
}

// explain names the server, and what can be done where the server says what is wrong.
func (s *Sink) explain(err error) error {
	where := strings.Join(s.options.Addresses, ", ")
	var answer redis.Error
	if errors.As(err, &answer) {
		text := answer.Error()
		switch {
		case strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "WRONGPASS"), strings.Contains(text, "invalid password"):
			return fmt.Errorf("write to Redis at %s: %s; check username and password", where, text)
		case strings.HasPrefix(text, "NOPERM"):
			return fmt.Errorf("write to Redis at %s: %s; allow the user SET, UNLINK, XADD and PUBLISH on the keys and the channel, and CLUSTER SLOTS in a cluster", where, text)
		case strings.HasPrefix(text, "WRONGTYPE"):
			return fmt.Errorf("write to Redis at %s: %s; the stream's name is that of another kind of key: remove it, or take another name", where, text)
		}
	}
	return fmt.Errorf("write to Redis at %s: %w", where, err)
}

// Close closes the connections.
func (s *Sink) Close() error {
	if s.client == nil {
		return nil
	}
	client := s.client
	s.client = nil
	return client.Close()
}
