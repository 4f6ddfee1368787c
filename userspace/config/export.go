package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// Export says which stores and streams are told what is measured. One that is nil is not.
type Export struct {
	Graphite   *Graphite
	InfluxDB   *InfluxDB
	Redis      *Redis
	MongoDB    *MongoDB
	ClickHouse *ClickHouse
	Kafka      *Kafka
}

// SinkLimits is how often a sink is called and how much may wait for it.
type SinkLimits struct {
	Every     time.Duration // between two pushes of traffic
	Timeout   time.Duration // of one call
	Queue     int           // changes of attacks that wait
	FlowQueue int           // flow records that wait
}

// Graphite is what export/graphite.Options says.
type Graphite struct {
	Limits    SinkLimits
	Address   string
	Protocol  string // tcp, pickle, udp
	Prefix    string
	Hosts     string // all, ipv4, none
	Detailed  bool
	FinalZero bool
}

// Redis is what export/redis.Options says.
type Redis struct {
	Limits           SinkLimits
	Addresses        []string
	Cluster          bool
	Sentinel         string
	Database         int
	Username         string
	Password         string
	SentinelUsername string
	SentinelPassword string
	TLS              TLS
	Keys             bool
	Prefix           string
	TTL              time.Duration
	KeepUnbanned     bool
	Channel          string
	Stream           string
	StreamLength     int
}

// TLS is how a server is spoken to.
type TLS struct {
	On            bool
	CA, Cert, Key string // files in PEM; empty: the system's authorities, no certificate of our own
	ServerName    string // in the server's certificate; empty: the host's
	Insecure      bool   // any certificate will do
}

func defaultLimits() SinkLimits {
	return SinkLimits{Every: 10 * time.Second, Timeout: 10 * time.Second, Queue: 4096, FlowQueue: 65536}
}

// limits is one field per key that all sinks have; those that take no flow records have no room for them.
func (d *decoder) limits(l *SinkLimits) []field {
	return []field{
		{"every", d.duration(&l.Every, time.Second, time.Hour)},
		{"timeout", d.duration(&l.Timeout, 100*time.Millisecond, 10*time.Minute)},
		{"queue", d.count(&l.Queue, 1, 1e6)},
		{"flow_queue", d.count(&l.FlowQueue, 1, 1<<24)},
	}
}

// export decodes the section.
func (d *decoder) export(x *Export) decodeFunc {
	return d.section(
		field{"graphite", d.graphite(&x.Graphite)},
		field{"influxdb", d.influxdb(&x.InfluxDB)},
		field{"redis", d.redis(&x.Redis)},
		field{"mongodb", d.mongodb(&x.MongoDB)},
		field{"clickhouse", d.clickhouse(&x.ClickHouse)},
		field{"kafka", d.kafka(&x.Kafka)},
	)
}

// sink decodes the section of one sink: that it is there turns the sink on.
func (d *decoder) sink(l *SinkLimits, fields ...field) decodeFunc {
	*l = defaultLimits()
	decode := d.section(append(fields, d.limits(l)...)...)
	return func(at string, n *yaml.Node) {
		if d.sinks == nil {
			d.sinks = map[string]Error{}
		}
		d.sinks[at] = Error{File: d.name, Line: n.Line, Column: n.Column}
		decode(at, n)
	}
}

func (d *decoder) graphite(dst **Graphite) decodeFunc {
	return func(at string, n *yaml.Node) {
		g := &Graphite{Address: "127.0.0.1:2003", Protocol: "tcp", Prefix: "fastnetmon", Hosts: "all", FinalZero: true}
		d.sink(&g.Limits,
			field{"address", d.serverAddress(&g.Address)},
			field{"protocol", d.oneOf(&g.Protocol, "tcp", "pickle", "udp")},
			field{"prefix", d.word(&g.Prefix)},
			field{"hosts", d.oneOf(&g.Hosts, "all", "ipv4", "none")},
			field{"detailed", d.bool(&g.Detailed)},
			field{"final_zero", d.bool(&g.FinalZero)},
		)(at, n)
		if g.Protocol == "pickle" && valueOf(n, "address") == nil {
			g.Address = "127.0.0.1:2004"
		}
		*dst = g
	}
}

// oneOf decodes one of some words.
func (d *decoder) oneOf(dst *string, words ...string) decodeFunc {
	return choice(d, dst, words, words)
}

func (d *decoder) redis(dst **Redis) decodeFunc {
	return func(at string, n *yaml.Node) {
		r := &Redis{Addresses: []string{"127.0.0.1:6379"}, Keys: true, StreamLength: 100_000}
		d.sink(&r.Limits,
			field{"addresses", d.servers(&r.Addresses)},
			field{"cluster", d.bool(&r.Cluster)},
			field{"sentinel", d.words(&r.Sentinel)},
			field{"database", d.count(&r.Database, 0, 1e6)},
			field{"username", d.words(&r.Username)},
			field{"password", d.words(&r.Password)},
			field{"sentinel_username", d.words(&r.SentinelUsername)},
			field{"sentinel_password", d.words(&r.SentinelPassword)},
			field{"tls", d.tls(&r.TLS)},
			field{"keys", d.bool(&r.Keys)},
			field{"prefix", d.words(&r.Prefix)},
			field{"ttl", d.duration(&r.TTL, 0, 10*366*24*time.Hour)},
			field{"keep_unbanned", d.bool(&r.KeepUnbanned)},
			field{"channel", d.words(&r.Channel)},
			field{"stream", d.words(&r.Stream)},
			field{"stream_length", d.count(&r.StreamLength, 1, 1e9)},
		)(at, n)
		*dst = r
	}
}
