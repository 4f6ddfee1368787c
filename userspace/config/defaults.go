package config

import (
	"log/slog"
	"path/filepath"
	"time"

	"weir/userspace/traffic"
)

// What outlives the daemon lies in one folder, unless the file says otherwise.
const (
	storeFolder   = "/var/lib/weir"
	templatesFile = "templates" // beside the store
)

// Default is the configuration of an empty file: nothing is measured, no threshold is set, and every other value is one to live with.
func Default() *Config {
	return &Config{
		Hostgroups: []Hostgroup{{
			Name:    defaultGroup,
			Enabled: [2]bool{true, true},
			Window:  time.Second,
			Clear:   0.8,
			Quiet:   5 * time.Second,
			Drop:    true,
			Notify:  true,
			BanTime: 30 * time.Minute,
		}},
		Detection: Detection{WarmUp: 2 * time.Second, MaxWatched: 8192, Confidence: 0.95},
		Mitigation: Mitigation{
			Enabled:      true,
			MaxActive:    1000,
			MaxPerMinute: 100,
			Expiry:       time.Minute,
			Probe:        Probe{Look: 30 * time.Second, Most: 4 * time.Hour},
			Tolerance:    0.2,
		},
		BGP: BGP{
			OnStop:          BGPWithdraw,
			GracefulRestart: BGPGracefulRestart{Enabled: true, Time: 2 * time.Minute},
			Aggregate:       BGPAggregate{IPv4: 24, IPv6: 48},
		},
		Flows: Flows{
			ReceiveBuffer: 16 << 20,
			MaxExporters:  1024,
			MaxTemplates:  4096,
			TemplateLife:  24 * time.Hour,
			Templates:     filepath.Join(storeFolder, templatesFile),
			Spread:        true,
			Filters:       FlowFilters{Timeout: 5 * time.Millisecond},
		},
		Tunnels:    traffic.Tunnels{Depth: 4},
		Notify:     Notify{Script: Script{Timeout: 30 * time.Second, Concurrency: 4, Queue: 256, Details: true}},
		Hooks:      Hooks{Timeout: 20 * time.Millisecond},
		Sampling:   Sampling{Rate: 1000, SuspectRate: 10},
		Memory:     Memory{Cells: 512e6},
		API:        API{Socket: "/run/weir/weir.sock", Group: "weir"},
		Prometheus: Prometheus{Listen: "127.0.0.1:9465", TopHosts: 20},
		Store:      Store{Path: filepath.Join(storeFolder, "weir.db")},
		Recorder: Recorder{
			Path: filepath.Join(storeFolder, recordsFolder), Attacks: 1000, Size: 1 << 30, Age: 90 * 24 * time.Hour, FileSize: 16 << 20, Ring: 8 << 20,
		},
		Log: Log{Level: slog.LevelInfo, Format: FormatText},
		Pin: Pin{Path: "/sys/fs/bpf/weir", OnStop: OnStopDetach},
	}
}
