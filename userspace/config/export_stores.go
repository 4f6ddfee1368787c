package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// InfluxDB is what export/influxdb.Options says.
type InfluxDB struct {
	Limits          SinkLimits
	Version         string // 1, 2, 3, udp
	Address         string // empty: the version's own
	Database        string
	Org             string
	Bucket          string
	Token           string
	User            string
	Password        string
	RetentionPolicy string
	Create          bool
	Keep            time.Duration
	Hosts           string // all, ipv4, none
	Brief           bool
	FinalZero       bool
	Tags            map[string]string
	Gzip            bool
	TLS             TLS
	Proxy           bool
}

// MongoDB is what export/mongodb.Options says.
type MongoDB struct {
	Limits     SinkLimits
	Addresses  []string
	ReplicaSet string
	Database   string
	Collection string
	Username   string
	Password   string
	AuthSource string
	Mechanism  string
	TLS        TLS
	FastNetMon bool
	Instance   string
	Changes    int
	Indexes    bool
}

// ClickHouse is what export/clickhouse.Options says.
type ClickHouse struct {
	Limits      SinkLimits
	Address     string // empty: the one of its kind
	Database    string // empty: weir, or fastnetmon
	Username    string
	Password    string
	TLS         TLS
	Gzip        bool
	Instance    string
	FastNetMon  bool
	Hosts       bool
	Create      bool
	TrafficDays int // 0: the one of its kind
	AttackDays  int
	FlowDays    int
}

// Kafka is what export/kafka.Options says.
type Kafka struct {
	Limits       SinkLimits
	Brokers      []string
	Attacks      string
	Traffic      string
	Flows        string
	Hosts        bool
	Networks     bool
	Hostgroups   bool
	Totals       bool
	Format       string
	FlowFormat   string // empty: as Format
	FlowKey      string // none, exporter, destination
	Acks         string
	Idempotent   bool
	Compression  string
	Linger       time.Duration
	MaxRecord    int64
	Buffer       int
	CreateTopics bool
	ClientID     string
	TLS          TLS
	Mechanism    string // empty: no login
	User         string
	Password     string
}

func (d *decoder) influxdb(dst **InfluxDB) decodeFunc {
	return func(at string, n *yaml.Node) {
		i := &InfluxDB{Version: "1", Database: "fastnetmon", Hosts: "all", FinalZero: true}
		d.sink(&i.Limits,
			field{"version", d.oneOf(&i.Version, "1", "2", "3", "udp")},
			field{"address", d.words(&i.Address)},
			field{"database", d.words(&i.Database)},
			field{"org", d.words(&i.Org)},
			field{"bucket", d.words(&i.Bucket)},
			field{"token", d.words(&i.Token)},
			field{"user", d.words(&i.User)},
			field{"password", d.words(&i.Password)},
			field{"retention_policy", d.words(&i.RetentionPolicy)},
			field{"create", d.bool(&i.Create)},
			field{"keep", d.duration(&i.Keep, 0, 100*366*24*time.Hour)},
			field{"hosts", d.oneOf(&i.Hosts, "all", "ipv4", "none")},
			field{"brief", d.bool(&i.Brief)},
			field{"final_zero", d.bool(&i.FinalZero)},
			field{"tags", d.pairs(&i.Tags)},
			field{"gzip", d.bool(&i.Gzip)},
			field{"tls", d.tls(&i.TLS)},
			field{"proxy", d.bool(&i.Proxy)},
		)(at, n)
		*dst = i
	}
}

func (d *decoder) mongodb(dst **MongoDB) decodeFunc {
	return func(at string, n *yaml.Node) {
		m := &MongoDB{Addresses: []string{"127.0.0.1:27017"}, Database: "weir", Collection: "attacks", Changes: 100, Indexes: true}
		d.sink(&m.Limits,
			field{"addresses", d.servers(&m.Addresses)},
			field{"replica_set", d.words(&m.ReplicaSet)},
			field{"database", d.words(&m.Database)},
			field{"collection", d.words(&m.Collection)},
			field{"username", d.words(&m.Username)},
			field{"password", d.words(&m.Password)},
			field{"auth_source", d.words(&m.AuthSource)},
			field{"mechanism", d.words(&m.Mechanism)},
			field{"tls", d.tls(&m.TLS)},
			field{"fastnetmon", d.bool(&m.FastNetMon)},
			field{"instance", d.words(&m.Instance)},
			field{"changes", d.count(&m.Changes, 1, 1000)},
			field{"indexes", d.bool(&m.Indexes)},
		)(at, n)
		*dst = m
	}
}

func (d *decoder) clickhouse(dst **ClickHouse) decodeFunc {
	return func(at string, n *yaml.Node) {
		c := &ClickHouse{Hosts: true, Create: true, AttackDays: 365, FlowDays: 7}
		d.sink(&c.Limits,
			field{"address", d.words(&c.Address)},
			field{"database", d.words(&c.Database)},
			field{"username", d.words(&c.Username)},
			field{"password", d.words(&c.Password)},
			field{"tls", d.tls(&c.TLS)},
			field{"gzip", d.bool(&c.Gzip)},
			field{"instance", d.words(&c.Instance)},
			field{"fastnetmon", d.bool(&c.FastNetMon)},
			field{"hosts", d.bool(&c.Hosts)},
			field{"create", d.bool(&c.Create)},
			field{"traffic_days", d.count(&c.TrafficDays, 0, 10_000)},
			field{"attack_days", d.count(&c.AttackDays, 1, 10_000)},
			field{"flow_days", d.count(&c.FlowDays, 1, 10_000)},
		)(at, n)
		*dst = c
	}
}

func (d *decoder) kafka(dst **Kafka) decodeFunc {
	return func(at string, n *yaml.Node) {
		k := &Kafka{
			Hosts: true, Networks: true, Hostgroups: true, Totals: true, Format: "json", FlowKey: "none", Acks: "all", Idempotent: true, Compression: "lz4",
			Linger: 5 * time.Millisecond, MaxRecord: 1_000_000, Buffer: 10_000, ClientID: "weir",
		}
		d.sink(&k.Limits,
			field{"brokers", d.servers(&k.Brokers)},
			field{"attacks", d.words(&k.Attacks)},
			field{"traffic", d.words(&k.Traffic)},
			field{"flows", d.words(&k.Flows)},
			field{"hosts", d.bool(&k.Hosts)},
			field{"networks", d.bool(&k.Networks)},
			field{"hostgroups", d.bool(&k.Hostgroups)},
			field{"totals", d.bool(&k.Totals)},
			field{"format", d.oneOf(&k.Format, "json", "protobuf")},
			field{"flow_format", d.oneOf(&k.FlowFormat, "", "json", "protobuf", "fastnetmon-json", "fastnetmon-protobuf")},
			field{"flow_key", d.oneOf(&k.FlowKey, "none", "exporter", "destination")},
			field{"acks", d.oneOf(&k.Acks, "all", "leader", "none")},
			field{"idempotent", d.bool(&k.Idempotent)},
			field{"compression", d.oneOf(&k.Compression, "none", "gzip", "snappy", "lz4", "zstd")},
			field{"linger", d.duration(&k.Linger, time.Millisecond, time.Second)},
			field{"max_record", d.size(&k.MaxRecord, 1024, 64<<20)},
			field{"buffer", d.count(&k.Buffer, 1, 1e6)},
			field{"create_topics", d.bool(&k.CreateTopics)},
			field{"client_id", d.words(&k.ClientID)},
			field{"tls", d.tls(&k.TLS)},
			field{"mechanism", d.oneOf(&k.Mechanism, "", "plain", "scram-sha-256", "scram-sha-512")},
			field{"user", d.words(&k.User)},
			field{"password", d.words(&k.Password)},
		)(at, n)
		d.needed(at, n, "brokers")
		*dst = k
	}
}
