package structure

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// row says what the packages of a layer may import.
type row struct {
	packages []string // relative to the module; "x/..." is x and everything below
	ours     []string // the same, of our own packages; a package's own folders below it are always allowed
	others   []string // modules of others; "*": any
	pure     bool     // no sockets, files, processes, clock or logger
}

// The table of import directions. Edges touch the outside world and know only the vocabulary; the core is pure; what wires
// them together may import everything.
func table() []row {
	const vocabulary = "userspace/traffic"
	return []row{
		{packages: []string{vocabulary}, pure: true},
		// The core.
		{packages: []string{"userspace/networks", "userspace/packet", "userspace/detect", "userspace/mitigate", "userspace/announce", "userspace/respond", "userspace/rulelint", "userspace/analyze/dissect/...", "bgp/flowspec"},
			ours: []string{vocabulary}, others: []string{"github.com/gaissmai/bart"}, pure: true},
		{packages: []string{"userspace/hosts"}, ours: []string{vocabulary, "userspace/networks"}, pure: true},
		{packages: []string{"userspace/analyze"}, ours: []string{vocabulary, "userspace/packet", "userspace/analyze/dissect"}, pure: true},
		{packages: []string{"userspace/analyze/signature"}, ours: []string{vocabulary, "userspace/analyze"}, pure: true},
		{packages: []string{"userspace/investigate"}, ours: []string{vocabulary, "userspace/analyze", "userspace/analyze/signature"}, pure: true},
		// The configuration.
		{packages: []string{"userspace/config"}, ours: []string{vocabulary}, others: []string{"go.yaml.in/yaml/v3", "github.com/gaissmai/bart"}},
		// The edges.
		{packages: []string{"loader", "userspace/store", "userspace/notify", "userspace/api", "userspace/metrics", "userspace/lab", "userspace/netsource", "userspace/recorder", "userspace/capture/...", "userspace/enrich", "userspace/export", "userspace/plugin"},
			ours: []string{vocabulary}, others: []string{"*"}},
		// The forms that sinks share, and the sinks: the runner in export knows none of them, and none of them knows it.
		{packages: []string{"userspace/eventjson", "userspace/fastnetmon", "userspace/notify/digest"}, ours: []string{vocabulary}, pure: true},
		{packages: sinks(), ours: []string{vocabulary, "userspace/eventjson", "userspace/fastnetmon", "userspace/notify/digest"}, others: []string{"*"}},
		{packages: []string{"userspace/plugin/pluginpb/..."}, ours: []string{"userspace/plugin/pluginpb/..."}, others: []string{"*"}},
		// Examples are for those who write plug-ins: they know the interface and nothing else of ours.
		{packages: []string{"examples/..."}, ours: []string{"userspace/plugin/pluginpb/..."}, others: []string{"connectrpc.com/connect"}},
		// The edges that speak BGP: each writes FlowSpec by one codec.
		{packages: []string{"bgp/exabgp", "bgp/gobgpd", "bgp"}, ours: []string{vocabulary, "bgp/flowspec"}, others: []string{"*"}},
		// Flow collection: the collector imports its decoders.
		{packages: []string{"flowcollect/netflow", "flowcollect/sflow"}, ours: []string{vocabulary}, others: []string{"github.com/gaissmai/bart"}},
		{packages: []string{"flowcollect/kafka"}, ours: []string{vocabulary}, others: []string{"*"}},
		// Scripts: what may be done about flow records and attacks, both in one sandbox.
		{packages: []string{"userspace/sandbox"}, others: []string{"github.com/yuin/gopher-lua"}},
		{packages: []string{"flowcollect/filter", "userspace/decide"}, ours: []string{vocabulary, "userspace/sandbox"}, others: []string{"github.com/yuin/gopher-lua", "github.com/gaissmai/bart"}},
		{packages: []string{"flowcollect"}, ours: []string{vocabulary}, others: []string{"golang.org/x/sync", "golang.org/x/sys"}},
		// The wiring.
		{packages: []string{"userspace/daemon", "userspace/replay", "userspace/demo", "userspace/bench", "userspace/doctor", "userspace/engines", "cmd/weir", "tests/...", "vmtest/..."},
			ours: []string{"..."}, others: []string{"*"}},
	}
}

// sinks are the packages that tell one kind of store, stream or people.
func sinks() []string {
	return []string{
		"userspace/export/graphite", "userspace/export/influxdb", "userspace/export/clickhouse", "userspace/export/redis", "userspace/export/mongodb", "userspace/export/kafka/...",
		"userspace/notify/webhook", "userspace/notify/mail", "userspace/notify/chat",
	}
}

// impure are the standard packages that reach outside, or that log, which is for whoever calls the core.
func impure() []string {
	return []string{"context", "database/...", "io/fs", "io/ioutil", "log/...", "net", "net/http/...", "net/rpc/...", "os/...", "plugin", "runtime/...", "syscall/...", "testing/..."}
}

// within reports whether a package's path is pattern or, if it ends in "/...", at or below it.
func within(name string, pattern string) bool {
	if pattern == "..." {
		return true
	}
	if base, below := strings.CutSuffix(pattern, "/..."); below {
		return name == base || strings.HasPrefix(name, base+"/")
	}
	return name == pattern
}

func anyWithin(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return within(name, p) })
}

// violations returns what a package imports against the table.
func violations(p *listed, rows []row) []string {
	const module = "weir/"
	self := strings.TrimPrefix(p.ImportPath, module)
	// A folder below a listed package is part of it.
	home := self
	at := -1
	for ; at < 0 && home != "."; home = path.Dir(home) {
		at = slices.IndexFunc(rows, func(r row) bool { return anyWithin(home, r.packages) })
		if at >= 0 {
			break
		}
	}
	if at < 0 {
		return []string{p.ImportPath + " is in no row of the table of import directions: add it to its layer"}
	}
	r := rows[at]
	var found []string
	for _, i := range p.Imports {
		first, _, _ := strings.Cut(i, "/")
		switch ours, isOurs := strings.CutPrefix(i, module); {
		case isOurs:
			if !anyWithin(ours, r.ours) && !within(ours, home+"/...") {
				found = append(found, fmt.Sprintf("%s imports %s; it may import of ours: %v", p.ImportPath, i, r.ours))
			}
		case i == "C":
			found = append(found, p.ImportPath+" uses cgo")
		case strings.Contains(first, "."):
			if !slices.Contains(r.others, "*") && !slices.ContainsFunc(r.others, func(o string) bool { return within(i, o+"/...") }) {
				found = append(found, fmt.Sprintf("%s imports %s; it may import of others: %v", p.ImportPath, i, r.others))
			}
		case r.pure && anyWithin(i, impure()):
			found = append(found, fmt.Sprintf("%s imports %s, which is not pure", p.ImportPath, i))
		}
	}
	return found
}

func TestImports(t *testing.T) {
	for _, p := range list(t, nil, "./...") {
		for _, v := range violations(p, table()) {
			t.Error(v)
		}
	}
}

// The table itself refuses what it is for.
func TestImportsRefused(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"weir/loader", "weir/userspace/detect", "it may import of ours"},
		{"weir/userspace/store", "weir/userspace/notify", "it may import of ours"},
		{"weir/userspace/detect", "weir/loader", "it may import of ours"},
		{"weir/userspace/detect", "weir/userspace/hosts", "it may import of ours"},
		{"weir/userspace/detect", "os/exec", "not pure"},
		{"weir/userspace/mitigate", "go.etcd.io/bbolt", "it may import of others"},
		{"weir/userspace/traffic", "github.com/gaissmai/bart", "it may import of others"},
		{"weir/userspace/config", "weir/userspace/networks", "it may import of ours"},
		{"weir/userspace/announce", "weir/bgp", "it may import of ours"},
		{"weir/userspace/announce", "net", "not pure"},
		{"weir/userspace/newcomer", "fmt", "in no row"},
		{"weir/userspace/api", "C", "uses cgo"},
		{"weir/userspace/api", "weir/userspace/api/weirpb", ""},
		{"weir/userspace/api/weirpb/weirpbconnect", "weir/userspace/api/weirpb", ""},
		{"weir/userspace/networks", "github.com/gaissmai/bart", ""},
		{"weir/userspace/networks", "net/netip", ""},
		{"weir/userspace/daemon", "weir/loader", ""},
	} {
		t.Run(tt.from+" imports "+tt.to, func(t *testing.T) {
			got := strings.Join(violations(&listed{ImportPath: tt.from, Imports: []string{tt.to}}, table()), "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
