package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// FlowKafka is what flowcollect/kafka.Options says: flow records that others have written to Kafka.
type FlowKafka struct {
	Brokers      []string
	Topics       []string
	Group        string
	Format       string // goflow2, akvorado
	Framing      string // auto, delimited, plain
	Schema       string // a .proto file; empty: the built-in one
	SamplingRate int    // of records that name none; 0: unknown
	MaxAge       time.Duration
	Memory       int64
	ClientID     string
	TLS          TLS
	Mechanism    string // empty: no login
	User         string
	Password     string
}

func (d *decoder) flowKafka(dst **FlowKafka) decodeFunc {
	return func(at string, n *yaml.Node) {
		k := &FlowKafka{Format: "goflow2", Framing: "auto", MaxAge: time.Minute, Memory: 16 << 20, ClientID: "weir"}
		d.mapping(at, n,
			field{"brokers", d.servers(&k.Brokers)},
			field{"topics", d.list(&k.Topics, "topics")},
			field{"group", d.words(&k.Group)},
			field{"format", d.oneOf(&k.Format, "goflow2", "akvorado")},
			field{"framing", d.oneOf(&k.Framing, "auto", "delimited", "plain")},
			field{"schema", d.path(&k.Schema, true)},
			field{"sampling_rate", d.count(&k.SamplingRate, 0, 1e9)},
			field{"max_age", d.duration(&k.MaxAge, time.Second, 24*time.Hour)},
			field{"memory", d.size(&k.Memory, 1<<16, 1<<30)},
			field{"client_id", d.words(&k.ClientID)},
			field{"tls", d.tls(&k.TLS)},
			field{"mechanism", d.oneOf(&k.Mechanism, "", "plain", "scram-sha-256", "scram-sha-512")},
			field{"user", d.words(&k.User)},
			field{"password", d.words(&k.Password)},
		)
		d.needed(at, n, "brokers", "topics")
		*dst = k
	}
}
