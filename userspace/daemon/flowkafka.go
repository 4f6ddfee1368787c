package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"weir/flowcollect/kafka"
	"weir/userspace/config"
	"weir/userspace/traffic"
)

// kafkaFlows has a worker count the flow records that come by Kafka. The source has no ticks of its own, so the worker is locked.
type kafkaFlows struct {
	source *kafka.Source
	worker *worker
	mu     sync.Mutex
}

// openKafkaFlows makes the source and its worker.
func (d *daemon) openKafkaFlows(cfg *config.Config) error {
	k := cfg.Flows.Kafka
	if k == nil {
		return nil
	}
	secure, err := tlsOf(k.TLS)
	if err != nil {
		return fmt.Errorf("set up flows.kafka: %w", err)
	}
	f := &kafkaFlows{worker: newWorker(d.frames.ParseLink, cfg)}
	f.source, err = kafka.New(kafka.Options{
		Brokers: k.Brokers, Topics: k.Topics, Group: k.Group, ClientID: k.ClientID,
		Format:  map[string]kafka.Format{"goflow2": kafka.GoFlow2, "akvorado": kafka.Akvorado}[k.Format],
		Framing: map[string]kafka.Framing{"auto": kafka.FramingAuto, "delimited": kafka.FramingDelimited, "plain": kafka.FramingPlain}[k.Framing],
		Schema:  k.Schema, Rate: uint32(k.SamplingRate), MaxAge: k.MaxAge, Memory: int32(k.Memory), TLS: secure, Mechanism: k.Mechanism, User: k.User, Password: k.Password,
		Sink: func(r *traffic.Flow) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if r.RateOrigin != traffic.RateUnknown { // nobody knows what the others stand for
				f.worker.flow(r)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("set up flows.kafka: %w", err)
	}
	d.kafka = f
	d.workers = append(d.workers, f.worker)
	return nil
}

// run reads until ctx ends.
func (f *kafkaFlows) run(ctx context.Context) error {
	ticking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		ticks := time.NewTicker(workerTick)
		defer ticks.Stop()
		for {
			select {
			case <-ticking.Done():
				return
			case now := <-ticks.C:
				f.mu.Lock()
				f.worker.tick(now)
				f.mu.Unlock()
			}
		}
	}()
	return f.source.Run(ctx)
}

// workerTick is how often a worker does what is due.
const workerTick = 50 * time.Millisecond
