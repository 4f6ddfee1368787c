package daemon

import (
	"weir/userspace/config"
	"weir/userspace/export/clickhouse"
	"weir/userspace/export/graphite"
	"weir/userspace/export/influxdb"
	"weir/userspace/export/kafka"
	"weir/userspace/export/mongodb"
	"weir/userspace/export/redis"
)

// stores makes the sinks that are stores and streams.
func (s *sinks) stores(x *config.Export) {
	if g := x.Graphite; g != nil {
		sink, err := graphite.New(graphite.Options{
			Address: g.Address, Protocol: g.Protocol, Prefix: g.Prefix, Hosts: g.Hosts, Detailed: g.Detailed, NoFinalZero: !g.FinalZero,
		})
		s.add("export.graphite", g.Limits, sink, err)
	}
	if i := x.InfluxDB; i != nil {
		sink, err := influxdb.New(influxdb.Options{
			Version: i.Version, Address: i.Address, Database: i.Database, Org: i.Org, Bucket: i.Bucket, Token: i.Token, User: i.User, Password: i.Password,
			RetentionPolicy: i.RetentionPolicy, Create: i.Create, Keep: i.Keep, Hosts: i.Hosts, Brief: i.Brief, NoFinalZero: !i.FinalZero, Tags: i.Tags,
			Gzip: i.Gzip && i.Version != influxdb.UDP, CAFile: i.TLS.CA, CertFile: i.TLS.Cert, KeyFile: i.TLS.Key, Insecure: i.TLS.Insecure, Proxy: i.Proxy,
		})
		s.add("export.influxdb", i.Limits, sink, err)
	}
	if r := x.Redis; r != nil {
		s.redis(r)
	}
	if m := x.MongoDB; m != nil {
		s.mongodb(m)
	}
	if c := x.ClickHouse; c != nil {
		s.clickhouse(c)
	}
	if k := x.Kafka; k != nil {
		s.kafka(k)
	}
}

func (s *sinks) redis(r *config.Redis) {
	secure, err := tlsOf(r.TLS)
	var sink *redis.Sink
	if err == nil {
		sink, err = redis.New(redis.Options{
			Addresses: r.Addresses, Cluster: r.Cluster, Sentinel: r.Sentinel, Database: r.Database, Username: r.Username, Password: r.Password,
			SentinelUsername: r.SentinelUsername, SentinelPassword: r.SentinelPassword, TLS: secure, Keys: r.Keys, Prefix: r.Prefix, TTL: r.TTL, KeepUnbanned: r.KeepUnbanned,
			Channel: r.Channel, Stream: r.Stream, StreamLength: int64(r.StreamLength),
		})
	}
	s.add("export.redis", r.Limits, sink, err)
}

func (s *sinks) mongodb(m *config.MongoDB) {
	secure, err := tlsOf(m.TLS)
	var sink *mongodb.Sink
	if err == nil {
		sink, err = mongodb.New(mongodb.Options{
			Addresses: m.Addresses, ReplicaSet: m.ReplicaSet, Database: m.Database, Collection: m.Collection, Username: m.Username, Password: m.Password,
			AuthSource: m.AuthSource, Mechanism: m.Mechanism, TLS: secure, FastNetMon: m.FastNetMon, Instance: m.Instance, Changes: m.Changes, NoIndexes: !m.Indexes,
		})
	}
	s.add("export.mongodb", m.Limits, sink, err)
}

func (s *sinks) clickhouse(c *config.ClickHouse) {
	secure, err := tlsOf(c.TLS)
	var sink *clickhouse.Sink
	if err == nil {
		sink, err = clickhouse.New(clickhouse.Options{
			Address: c.Address, Database: c.Database, Username: c.Username, Password: c.Password, TLS: secure, Gzip: c.Gzip, Instance: c.Instance,
			FastNetMon: c.FastNetMon, NoHosts: !c.Hosts, NoCreate: !c.Create, TrafficDays: c.TrafficDays, AttackDays: c.AttackDays, FlowDays: c.FlowDays,
		})
	}
	s.add("export.clickhouse", c.Limits, sink, err)
}

func (s *sinks) kafka(k *config.Kafka) {
	secure, err := tlsOf(k.TLS)
	key := k.FlowKey
	if key == "none" {
		key = kafka.KeyNone
	}
	var sink *kafka.Sink
	if err == nil {
		sink, err = kafka.New(kafka.Options{
			Brokers: k.Brokers, Attacks: k.Attacks, Traffic: k.Traffic, Flows: k.Flows,
			NoHosts: !k.Hosts, NoNetworks: !k.Networks, NoGroups: !k.Hostgroups, NoTotals: !k.Totals, Format: k.Format, FlowFormat: k.FlowFormat, FlowKey: key,
			Acks: k.Acks, NotIdempotent: !k.Idempotent, Compression: k.Compression, Linger: k.Linger, MaxRecord: int(k.MaxRecord), Buffer: k.Buffer,
			CreateTopics: k.CreateTopics, ClientID: k.ClientID, TLS: secure, Mechanism: k.Mechanism, User: k.User, Password: k.Password,
		})
	}
	s.add("export.kafka", k.Limits, sink, err)
}
