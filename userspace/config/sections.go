package config

import (
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxSocketPath is what fits a Unix socket address on every system that Weir runs on (sockaddr_un: 104 bytes on BSD, 108 on Linux, with a final zero).
const maxSocketPath = 103

// config decodes the whole file into c, which holds the defaults.
func (d *decoder) config(c *Config, root *yaml.Node) {
	own, never, groups := ownNetworks{Networks: &c.Networks}, []placed(nil), []*group(nil)
	var allow, block []placed
	var interfaces *yaml.Node
	var bgp bgpSection
	var flows flowsSection
	var recordsNamed bool
	d.actions = actionNames(root)
	d.mapping("", root,
		field{"interfaces", func(at string, n *yaml.Node) { interfaces = n; d.interfaces(c, at, n) }},
		field{"networks", func(at string, n *yaml.Node) { d.networks(&own, at, n) }},
		field{"hostgroups", func(at string, n *yaml.Node) { groups = d.hostgroups(c, &bgp, at, n) }},
		field{"never_ban", d.section(
			field{"prefixes", d.prefixes(&never)},
			field{"files", d.files(&never)},
		)},
		field{"sources", d.section(
			field{"allow", d.section(field{"prefixes", d.prefixes(&allow)}, field{"files", d.files(&allow)})},
			field{"block", d.section(field{"prefixes", d.prefixes(&block)}, field{"files", d.files(&block)})},
		)},
		field{"detection", d.section(
			field{"warm_up", d.duration(&c.Detection.WarmUp, 0, 10*time.Minute)},
			field{"max_watched", d.count(&c.Detection.MaxWatched, 1, 1<<24)},
			field{"confidence", d.confidence(&c.Detection.Confidence)},
		)},
		field{"mitigation", d.section(
			field{"enabled", d.bool(&c.Mitigation.Enabled)},
			field{"dry_run", d.bool(&c.Mitigation.DryRun)},
			field{"kill_switch", d.bool(&c.Mitigation.KillSwitch)},
			field{"kill_switch_file", d.path(&c.Mitigation.KillSwitchFile, true)},
			field{"max_active", d.count(&c.Mitigation.MaxActive, 1, 1e6)},
			field{"max_per_minute", d.count(&c.Mitigation.MaxPerMinute, 1, 1e6)},
			field{"expiry", d.duration(&c.Mitigation.Expiry, 5*time.Second, time.Hour)},
			field{"probe", d.section(
				field{"look", d.duration(&c.Mitigation.Probe.Look, time.Second, time.Hour)},
				field{"most", d.duration(&c.Mitigation.Probe.Most, time.Second, 30*24*time.Hour)},
			)},
			field{"tolerance", d.clear(&c.Mitigation.Tolerance)},
		)},
		field{"bgp", func(at string, n *yaml.Node) { d.bgp(c, &bgp, at, n) }},
		field{"flows", func(at string, n *yaml.Node) { d.flows(c, &flows, at, n) }},
		field{"tunnels", func(at string, n *yaml.Node) { d.tunnels(&c.Tunnels, at, n) }},
		field{"recorder", d.recorder(&c.Recorder, &recordsNamed)},
		field{"export", d.export(&c.Export)},
		field{"notify", d.notify(&c.Notify)},
		field{"hooks", d.section(
			field{"script", d.path(&c.Hooks.Script, true)},
			field{"timeout", d.duration(&c.Hooks.Timeout, time.Millisecond, time.Second)},
		)},
		field{"plugins", each(d, &c.Plugins, "plug-ins such as {name: mine, command: [/usr/local/bin/mine], kinds: [sink]}", d.plugin)},
		field{"sampling", d.section(
			field{"rate", d.countOrOff(&c.Sampling.Rate, 1e9)},
			field{"suspect_rate", d.countOrOff(&c.Sampling.SuspectRate, 1e9)},
		)},
		field{"memory", d.section(field{"cells", d.size(&c.Memory.Cells, 1e6, 1e12)})},
		field{"api", d.section(
			field{"socket", d.socket(&c.API.Socket)},
			field{"group", d.word(&c.API.Group)},
		)},
		field{"prometheus", d.section(
			field{"listen", d.listen(&c.Prometheus.Listen)},
			field{"top_hosts", d.count(&c.Prometheus.TopHosts, 0, 1000)},
		)},
		field{"store", d.section(field{"path", d.path(&c.Store.Path, false)})},
		field{"log", d.section(
			field{"level", choice(d, &c.Log.Level, []string{"debug", "info", "warn", "error"},
				[]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError})},
			field{"format", choice(d, &c.Log.Format, []string{"text", "json"}, []Format{FormatText, FormatJSON})},
		)},
		field{"pin", d.section(
			field{"path", d.path(&c.Pin.Path, true)},
			field{"on_stop", choice(d, &c.Pin.OnStop, []string{"detach", "keep"}, []OnStop{OnStopDetach, OnStopKeep})},
		)},
	)
	c.Networks.Prefixes = distinct(own.prefixes)
	c.NeverBan = distinct(never)
	c.Sources = Sources{Allow: distinct(allow), Block: distinct(block)}
	c.ListFiles = slices.Sorted(maps.Keys(d.lists))
	d.checkGroups(c, &own, groups)
	d.checkNeverBan(&own, never)
	d.checkBGPUse(&c.BGP, &bgp)
	d.checkFlows(c, &flows)
	if !recordsNamed {
		c.Recorder.Path = recordsBesideStore(c.Store.Path)
	}
	d.checkComplete(c, root, interfaces, &own, &flows)
}

// script decodes the notify script; one that cannot be run is no error, because it may be installed later and detection must not wait for it.
func (d *decoder) script(s *Script) decodeFunc {
	return func(at string, n *yaml.Node) {
		d.mapping(at, n,
			field{"path", func(at string, n *yaml.Node) {
				d.path(&s.Path, true)(at, n)
				if s.Path == "" || d.stat == nil {
					return
				}
				switch info, err := d.stat(s.Path); {
				case err != nil:
					d.warnf(d.placeOf(n), "%q: cannot run %s: %s", at, s.Path, cause(err))
				case info.IsDir():
					d.warnf(d.placeOf(n), "%q: cannot run %s: it is a folder", at, s.Path)
				case info.Mode().Perm()&0o111 == 0:
					d.warnf(d.placeOf(n), "%q: cannot run %s: it is not executable; use chmod +x", at, s.Path)
				}
			}},
			field{"timeout", d.duration(&s.Timeout, 100*time.Millisecond, time.Hour)},
			field{"concurrency", d.count(&s.Concurrency, 1, 256)},
			field{"queue", d.count(&s.Queue, 1, 1e6)},
			field{"details", d.bool(&s.Details)},
		)
	}
}

func (d *decoder) socket(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		d.path(dst, false)(at, n)
		if len(*dst) > maxSocketPath {
			d.errorf(n, "%q: expected at most %d bytes, the longest path that a Unix socket can have, got %d", at, maxSocketPath, len(*dst))
		}
	}
}

// word decodes a name without spaces, or nothing.
func (d *decoder) word(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "the name of a group, or nothing in quotes"
		text, ok := d.text(at, n, what)
		switch {
		case !ok:
		case strings.ContainsAny(text, " \t\n\x00:/"):
			d.expected(at, n, what)
		default:
			*dst = text
		}
	}
}

// listen decodes an address to listen on. Names other than localhost are refused: what they mean could change with the resolver.
func (d *decoder) listen(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		const what = "an address and port such as 127.0.0.1:9465, [::1]:9465 or :9465, or off"
		text, ok := d.text(at, n, what)
		if !ok {
			return
		}
		if text == "" || text == "off" {
			*dst = ""
			return
		}
		host, port, err := net.SplitHostPort(text)
		_, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || (host != "" && host != "localhost" && net.ParseIP(host) == nil) {
			d.expected(at, n, what)
			return
		}
		*dst = text
	}
}

// confidence decodes a probability.
func (d *decoder) confidence(dst *float64) decodeFunc {
	return func(at string, n *yaml.Node) {
		const highest, what = 0.999, "a number over 0, at most 0.999, such as 0.95, or 95%, or off"
		if text, ok := d.text(at, n, what); ok {
			value, ok := parseRatio(text)
			switch {
			case text == "off":
				*dst = 0
			case ok && value <= highest+1e-9: // 99.9% is a hair more
				*dst = min(value, highest)
			default:
				d.expected(at, n, what)
			}
		}
	}
}

// checkComplete looks for what is missing as a whole.
func (d *decoder) checkComplete(c *Config, root, interfaces *yaml.Node, own *ownNetworks, flows *flowsSection) {
	switch {
	case len(c.Interfaces) == 0 && !flows.listens && !own.broken:
		d.warnf(d.placeOf(root), "no interfaces: nothing will be measured here")
	case own.empty() && !own.broken && (len(c.Interfaces) > 0 || flows.listens):
		at := interfaces
		if len(c.Interfaces) == 0 {
			at = flows.node
		}
		d.errorf(at, `"networks" are empty, so no packet would be ours; list your prefixes, or set "networks.local_addresses"`)
	}
	if c.Pin.Path == "" && c.Pin.OnStop == OnStopKeep {
		d.errorf(root, `"pin.on_stop" is keep, but "pin.path" is empty, so nothing could be kept; give a folder in a BPF file system`)
	}
	if !slices.ContainsFunc(c.Hostgroups, Hostgroup.anyThreshold) {
		d.warnf(d.placeOf(root), "no thresholds: nothing will be detected")
	}
}
