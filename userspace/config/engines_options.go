package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of the engines' options.
const (
	maxCaptureWorkers = 1024
	maxQueue          = 4095
	leastBlock        = 64 << 10
	mostBlock         = 64 << 20
	maxPortName       = 63 // netmap's, with a final zero (net/netmap.h)
	maxDeviceName     = 255
)

// defaultCapture is what an engine does unless told otherwise.
func defaultCapture(e Engine) Capture {
	if e == EngineXDP {
		return Capture{}
	}
	c := Capture{Promiscuous: true, Sampling: 1}
	switch e {
	case EngineAFPacket:
		c.AFPacket = AFPacket{Fanout: FanoutCPU, Blocks: 64, BlockSize: 1 << 20, KernelSampling: 1}
	case EngineAFXDP:
		c.AFXDP = AFXDP{ZeroCopy: ZeroCopyAuto}
	case EnginePcap:
		c.Pcap = Pcap{SnapLength: 256, Buffer: 2 << 20}
	case EnginePFRing:
		c.PFRing = PFRing{Watermark: 1, KernelSampling: 1}
	case EngineSnabb:
		c.Snabb = Snabb{Program: "snabb"}
	}
	return c
}

// captureOptions is one field for each option of an engine.
func (d *decoder) captureOptions(e Engine, c *Capture) []field {
	fields := []field{
		{"promiscuous", d.bool(&c.Promiscuous)},
		{"sampling", d.samplingRate(&c.Sampling)},
		{"workers", d.countOr("auto", &c.Workers, maxCaptureWorkers)},
	}
	switch e {
	case EngineAFPacket:
		fields = append(fields,
			field{"fanout", choice(d, &c.AFPacket.Fanout, words(fanouts()), fanouts())},
			field{"blocks", d.count(&c.AFPacket.Blocks, 2, 4096)},
			field{"block_size", d.blockSize(&c.AFPacket.BlockSize)},
			field{"kernel_sampling", d.samplingRate(&c.AFPacket.KernelSampling)},
			field{"filter", d.bytecode(&c.AFPacket.Filter)},
		)
	case EngineAFXDP:
		all := []ZeroCopy{ZeroCopyAuto, ZeroCopyOn, ZeroCopyOff}
		fields = append(fields,
			field{"queues", d.queues(&c.AFXDP.Queues)},
			field{"zero_copy", choice(d, &c.AFXDP.ZeroCopy, words(all), all)},
		)
	case EnginePcap:
		fields = append(fields,
			field{"snaplen", d.count(&c.Pcap.SnapLength, 64, 262144)},
			field{"buffer", d.size(&c.Pcap.Buffer, 1e6, 1e9)},
		)
	case EngineNetmap:
		fields = append(fields, field{"host_rings", d.bool(&c.Netmap.HostRings)})
	case EnginePFRing:
		fields = append(fields,
			field{"cluster", d.countOrOff(&c.PFRing.Cluster, 65535)},
			field{"watermark", d.count(&c.PFRing.Watermark, 1, 65535)},
			field{"kernel_sampling", d.samplingRate(&c.PFRing.KernelSampling)},
		)
	case EngineSnabb:
		fields = append(fields,
			field{"program", d.program(&c.Snabb.Program)},
			field{"script", d.path(&c.Snabb.Script, true)},
		)
	}
	return fields
}

// words are the names of values that are their own names.
func words[T ~string](values []T) []string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = string(v)
	}
	return list
}

// engineName decodes an interface's name as its engine knows it.
func (d *decoder) engineName(e Engine, dst *string, node **yaml.Node) decodeFunc {
	longest, what := maxDeviceName, ""
	switch e {
	case EngineNetmap:
		longest, what = maxPortName, "a netmap port such as eth1, netmap:eth1-0 or vale0:port"
	case EnginePFRing:
		what = "a PF_RING device such as eth1, eth1@0 or zc:eth1"
	case EngineSnabb:
		what = "what Snabb receives from, such as eth1 or 0000:04:00.0"
	default:
		return d.interfaceName(dst, node)
	}
	return func(at string, n *yaml.Node) {
		*node = n
		text, ok := d.text(at, n, what)
		switch {
		case !ok:
		case text == "", len(text) > longest, strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
			d.expected(at, n, what)
		default:
			*dst = text
		}
	}
}

// interfaceEngine checks what engines other than XDP cannot do, and decodes their options.
func (d *decoder) interfaceEngine(one *iface, at string) {
	one.Capture = defaultCapture(one.Engine)
	if one.mode != nil && one.Engine != EngineXDP && one.Engine != EngineAFXDP {
		d.errorf(one.mode, `"mode" is for engines xdp and afxdp only: the engine of %q is %s`, one.Name, one.Engine)
	}
	switch {
	case one.Engine == EngineXDP && one.options != nil && !isNull(one.options):
		d.errorf(one.options, `"options" are for engines other than xdp: the engine of %q is xdp`, one.Name)
	case one.Engine == EngineXDP:
	case one.Role == RoleMirror:
		if one.options != nil {
			d.mapping(join(at, "options"), one.options, d.captureOptions(one.Engine, &one.Capture)...)
		}
	default:
		place := one.engine
		if one.role != nil {
			place = one.role
		}
		d.errorf(place, "interface %q has engine %s and role %s; only engine xdp can drop and pass packets: write role: mirror to only measure here, or engine: xdp",
			one.Name, one.Engine, one.Role)
	}
}

func (d *decoder) blockSize(dst *int64) decodeFunc {
	return func(at string, n *yaml.Node) {
		what := fmt.Sprintf("a power of two from %dKiB to %dMiB, such as 1MiB", leastBlock>>10, mostBlock>>20)
		if text, ok := d.text(at, n, what); ok {
			if value, ok := parseSize(text); ok && value >= leastBlock && value <= mostBlock && value&(value-1) == 0 {
				*dst = value
				return
			}
			d.expected(at, n, what)
		}
	}
}

// queues decodes the list of a NIC's receive queues, or all of them.
func (d *decoder) queues(dst *[]int) decodeFunc {
	what := fmt.Sprintf("all, or a list of receive queues, whole numbers from 0 to %d", maxQueue)
	return func(at string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.Value == "all" {
			*dst = nil
			return
		}
		before := len(d.errs)
		var list []int
		for _, item := range d.items(at, n, what) {
			text, ok := d.text(at, item, what)
			if !ok {
				continue
			}
			queue, err := strconv.ParseUint(text, 10, 16)
			switch {
			case err != nil || queue > maxQueue:
				d.expected(at, item, what)
			case slices.Contains(list, int(queue)):
				d.errorf(item, "%q: queue %d is listed twice", at, queue)
			default:
				list = append(list, int(queue))
			}
		}
		if len(d.errs) == before && len(list) == 0 {
			d.expected(at, n, what)
		}
		slices.Sort(list)
		*dst = list
	}
}

// program decodes a program: a path, or a name without a slash, which stays as it is.
func (d *decoder) program(dst *string) decodeFunc {
	return func(at string, n *yaml.Node) {
		if text, ok := d.text(at, n, "a program"); ok && text != "" && !strings.ContainsAny(text, "/\x00") {
			*dst = text
			return
		}
		d.path(dst, false)(at, n)
	}
}
