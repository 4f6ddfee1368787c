package filter

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

// outcome is what an instance has made of a record.
type outcome struct {
	Keep           bool
	Rate           uint32
	Packets, Bytes uint64
}

func run(i *Instance, f *traffic.Flow) outcome {
	keep := i.Keep(f)
	return outcome{keep, f.Rate, f.Packets, f.Bytes}
}

func TestAnswers(t *testing.T) {
	same := outcome{true, 1000, 10, 5000}
	dropped := outcome{false, 1000, 10, 5000}
	for _, tt := range []struct {
		name, body string
		want       outcome
		stats      Stats
	}{
		{"nothing", "", same, Stats{Calls: 1}},
		{"nil", "return nil", same, Stats{Calls: 1}},
		{"true", "return true", same, Stats{Calls: 1}},
		{"false", "return false", dropped, Stats{Calls: 1, Dropped: 1}},
		{"one", "return 1", same, Stats{Calls: 1}},
		{"two", "return 2", outcome{true, 2000, 10, 5000}, Stats{Calls: 1, Rescaled: 1}},
		{"a quarter", "return 1 / 4", outcome{true, 250, 10, 5000}, Stats{Calls: 1, Rescaled: 1}},
		{"nought", "return 0", outcome{false, 1000, 0, 5000}, Stats{Calls: 1, Dropped: 1}},
		{"one and something", "return 2, 'more'", outcome{true, 2000, 10, 5000}, Stats{Calls: 1, Rescaled: 1}},
		{"negative", "return -1", same, Stats{Calls: 1, Errors: 1, LastError: "f.lua: a rate cannot be multiplied by -1; expected a number from 0 on"}},
		{"not a number", "return 0/0", same, Stats{Calls: 1, Errors: 1, LastError: "f.lua: a rate cannot be multiplied by NaN; expected a number from 0 on"}},
		{"too much", "return 1e7", same, Stats{Calls: 1, Errors: 1, LastError: "f.lua: rate 1000 multiplied by 1e+07 is more than 4294967295"}},
		{"a string", "return 'drop'", same, Stats{Calls: 1, Errors: 1,
			LastError: "f.lua: the answer is a string; expected nothing or true to keep the record, false to drop it, or a number to multiply its rate by"}},
		{"an error", "\nerror('no')", same, Stats{Calls: 1, Errors: 1, LastError: "f.lua:2: no"}},
		{"an error without text", "error({})", same, Stats{Calls: 1, Errors: 1, LastError: "error with a table"}},
		{"a mistake", "\n\nreturn flow.src + 1", same, Stats{Calls: 1, Errors: 1, LastError: "f.lua:3: cannot perform add operation between string and number"}},
		{"an unknown field", "return flow.scr", same, Stats{Calls: 1, Errors: 1, LastError: `f.lua:1: a flow record has no field "scr"`}},
		{"a changed field", "flow.rate = 3", same, Stats{Calls: 1, Errors: 1,
			LastError: "f.lua:1: a flow record cannot be changed; return false to drop it, or a number to multiply its rate by"}},
		{"a caught error", "pcall(error, 'no') return false", dropped, Stats{Calls: 1, Dropped: 1}},
		{"a print", "print('seen', flow.input, nil)", same, Stats{Calls: 1, LastPrint: "seen\t3\tnil"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := scriptOf(t, "function netflow(flow) "+tt.body+"\nend")
			if diff := cmp.Diff(run(s.New(), flow()), tt.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			if diff := cmp.Diff(statsOf(s), tt.stats); diff != "" {
				t.Errorf("stats (-got +want)\n%s", diff)
			}
		})
	}
}

// statsOf are a script's statistics without what differs from run to run: the folder, and the time of the last error.
func statsOf(s *Script) Stats {
	got := s.Stats()
	got.LastError = strings.ReplaceAll(got.LastError, filepath.Dir(s.path)+string(filepath.Separator), "")
	got.LastErrorAt = time.Time{}
	return got
}

// TestHooks: which function is called for what, and with what.
func TestHooks(t *testing.T) {
	netflow, sflow := flow(), flow6()
	for name, tt := range map[string]struct {
		script           string
		netflow, sflow   bool
		calls            uint64
		lastPrint, error string
	}{
		"both":       {"function netflow(f) return false end function sflow(f) return true end", false, true, 2, "", ""},
		"only sflow": {"function sflow(f) return false end", true, false, 1, "", ""},
		"FastNetMon's": {`function process_netflow(agent, f) print(agent, f.if_index_in) return false end
			function process_sflow(agent, f) return f.inputPort ~= 3 end`, false, false, 2, "192.0.2.1\t3", ""},
		"one of each":      {"function process_netflow(agent, f) return false end function sflow(f) print(f) return f.packets == 1 end", false, true, 2, "", ""},
		"a local function": {"local function no() return false end netflow = no", false, true, 1, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := scriptOf(t, tt.script)
			i := s.New()
			if a, b := i.Keep(netflow), i.Keep(sflow); a != tt.netflow || b != tt.sflow {
				t.Errorf("kept: NetFlow %v, sFlow %v", a, b)
			}
			got := s.Stats()
			if got.Calls != tt.calls || tt.lastPrint != "" && got.LastPrint != tt.lastPrint || got.Errors != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestFields reads every field under every name, as text behind a dot, by a name that is made, and by pairs.
func TestFields(t *testing.T) {
	want := map[string]string{
		"src": "198.51.100.7", "dst": "203.0.113.8", "src_port": "40000", "dst_port": "443", "protocol": "6", "tcp_flags": "18", "fragment": "whole",
		"tos": "184", "ttl": "61", "packets": "10", "bytes": "5000", "rate": "1000", "rate_origin": "options", "start": "1767355200", "finish": "1.7673552025e+09",
		"duration": "2.5", "end_reason": "active", "exporter": "192.0.2.1", "domain": "256", "source": "netflow9", "side": "ingress", "input": "3",
		"output": "4", "vlan": "12", "src_as": "64500", "dst_as": "4200000001", "src_mask": "24", "dst_mask": "32", "next_hop": "nil",
		"dropped": "false", "notice": "false",
	}
	ids := map[field]string{}
	for _, f := range fields() {
		if f.alias {
			want[f.name] = want[ids[f.field]]
		} else {
			ids[f.field] = f.name
		}
	}
	if len(want) != len(fields()) {
		t.Fatalf("%d values for %d names", len(want), len(fields()))
	}
	for _, f := range fields() {
		for how, text := range map[string]string{
			"by its name":     "print(flow." + f.name + ")",
			"by another name": "local n = '" + f.name + "' print(flow[n])",
		} {
			s := scriptOf(t, "function netflow(flow) "+text+" end")
			s.New().Keep(flow())
			if got := s.Stats(); got.LastPrint != want[f.name] || got.Errors != 0 {
				t.Errorf("%s %s: got %q, want %q; error %q", f.name, how, got.LastPrint, want[f.name], got.LastError)
			}
		}
	}
	s := scriptOf(t, `function netflow(flow)
		local names = {}
		for name, value in pairs(flow) do names[#names + 1] = name .. "=" .. tostring(value) end
		table.sort(names)
		print(table.concat(names, " "))
	end`)
	s.New().Keep(flow())
	got := len(strings.Fields(s.Stats().LastPrint))
	if want := len(ids) - 1; got != want { // next_hop is unknown
		t.Errorf("pairs: got %d fields, want %d: %+v", got, want, s.Stats())
	}
}

// TestRecordAfterRecord: what stood in the record before shows through nowhere.
func TestRecordAfterRecord(t *testing.T) {
	s := scriptOf(t, `
		local before
		local function all(flow)
			local text = ""
			for _, name in ipairs{"src", "next_hop", "bytes", "source", "src_port", "dropped", "input"} do text = text .. name .. "=" .. tostring(flow[name]) .. " " end
			return text .. tostring(flow.next_hop) .. " " .. flow.bytes .. " " .. flow.src .. " " .. flow.source .. " " .. tostring(flow.dropped)
		end
		function netflow(flow) print(all(flow)) for k in pairs(flow) do before = k end end
		sflow = netflow`)
	i := s.New()
	a, b := flow(), flow6()
	b.Dropped = true
	const first = "src=198.51.100.7 next_hop=nil bytes=5000 source=netflow9 src_port=40000 dropped=false input=3 nil 5000 198.51.100.7 netflow9 false"
	const second = "src=2001:db8:1::7 next_hop=2001:db8:3::1 bytes=1514 source=sflow5 src_port=40000 dropped=true input=3 2001:db8:3::1 1514 2001:db8:1::7 sflow5 true"
	for n, want := range []string{first, second, first, first, second} {
		i.Keep([]*traffic.Flow{a, b, a, a, b}[n])
		if got := s.Stats(); got.LastPrint != want || got.Errors != 0 {
			t.Errorf("record %d:\n got %s\nwant %s\n%s", n, got.LastPrint, want, got.LastError)
		}
	}
}

// TestRescale: over many records the sum is right, whatever the factor, and the mean size of a packet stays.
func TestRescale(t *testing.T) {
	for _, tt := range []struct {
		rate    uint32
		packets uint64
		by      float64
	}{{1, 1, 0.5}, {1, 1, 0.1}, {1, 3, 0.25}, {3, 1, 0.5}, {1000, 1, 0.3333}, {7, 100, 1.01}, {1, 1, 2.5}, {512, 4, 8}} {
		t.Run(fmt.Sprintf("%d x %d x %v", tt.rate, tt.packets, tt.by), func(t *testing.T) {
			i := scriptOf(t, fmt.Sprintf("function sflow() return %v end", tt.by)).New()
			const records = 20000
			var packets, bytes float64
			for range records {
				f := flow6()
				f.Rate, f.Packets, f.Bytes = tt.rate, tt.packets, tt.packets*1000
				if i.Keep(f) {
					packets += float64(f.Packets) * float64(f.Rate)
					bytes += float64(f.Bytes) * float64(f.Rate)
				}
			}
			want := float64(tt.rate) * float64(tt.packets) * tt.by * records
			if math.Abs(packets/want-1) > 0.05 || math.Abs(bytes/want/1000-1) > 0.05 {
				t.Errorf("got %.0f packets and %.0f bytes, want %.0f and %.0f", packets, bytes, want, want*1000)
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	s := scriptOf(t, `
		local ours = networks{"203.0.113.0/24", "2001:db8:2::/48", "192.0.2.9"}
		local function f(flow)
			print(ours:has_src(flow), ours:has_dst(flow), ours:has(flow.dst), ours:has("192.0.2.9"), ours:has("::ffff:203.0.113.1"), ours:has(flow.next_hop))
		end
		netflow, sflow = f, f`)
	i := s.New()
	for _, f := range []*traffic.Flow{flow(), flow6()} {
		i.Keep(f)
		if got, want := s.Stats().LastPrint, "false\ttrue\ttrue\ttrue\ttrue\tfalse"; got != want {
			t.Errorf("got %q, want %q: %s", got, want, s.Stats().LastError)
		}
	}
	many := scriptOf(t, `
		local lines, list = {}, {}
		for n = 0, 69999 do
			local text = ("198.%d.%d.%d/32"):format(18 + math.floor(n / 65536), math.floor(n / 256) % 256, n % 256)
			table.insert(list, text)
			lines[n % 1000 + 1] = text .. " # a comment"
		end
		local a, b = networks(list), networks(table.concat(lines, "\n"))
		function netflow() print(a:has("198.18.0.0"), a:has("198.19.17.111"), a:has("198.19.17.112"), b:has("198.19.17.111"), b:has("198.18.0.0")) end`)
	many.New().Keep(flow())
	if got, want := many.Stats().LastPrint, "true\ttrue\tfalse\ttrue\tfalse"; got != want {
		t.Errorf("many networks: got %q, want %q: %s", got, want, many.Stats().LastError)
	}
	for call, want := range map[string]string{
		`networks("192.0.2.0/24 # x\n\n y")`: `f.lua:1: networks: line 3: "y" is no network; expected one such as 192.0.2.0/24 or 2001:db8::/32, or an address`,
		`networks(1)`:                        "f.lua:1: bad argument #1 to networks (expected a list of networks, or a text of them)",
		`networks{"192.0.2.1/24"}`:           "f.lua:1: networks: entry 1: 192.0.2.1/24 has host bits set; expected 192.0.2.0/24",
		`networks{"::/0", "x"}`:              `f.lua:1: networks: entry 2: "x" is no network; expected one such as 192.0.2.0/24 or 2001:db8::/32, or an address`,
		`networks{}.has("x")`:                "f.lua:1: bad argument #1 to has (expected what networks{...} has made; write a colon before the method)",
		`networks{}:has("x")`:                "f.lua:1: bad argument #2 to has (expected an address)",
		`networks{}:has_src("x")`:            "f.lua:1: bad argument #2 to has_src (expected the flow record in hand)",
	} {
		s := scriptOf(t, "function netflow() "+call+" end")
		s.New().Keep(flow())
		if got := statsOf(s).LastError; got != want {
			t.Errorf("%s: got %q, want %q", call, got, want)
		}
	}
}

// TestWorkers: instances share nothing but their script, and statistics add up.
func TestWorkers(t *testing.T) {
	s := scriptOf(t, `local n = 0 function netflow(flow) n = n + 1 if n % 2 == 0 then return false end if n == 1001 then error("enough") end end`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			i, f := s.New(), flow()
			for range 2000 {
				i.Keep(f)
				s.Stats()
			}
		})
	}
	wg.Wait()
	want := Stats{Calls: 8000, Dropped: 4000, Errors: 4, LastError: "f.lua:1: enough"}
	if diff := cmp.Diff(statsOf(s), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

// TestReload: another script, or the same anew, knows nothing of what the one before has seen.
func TestReload(t *testing.T) {
	path := write(t, "f.lua", "function netflow(flow) return false end")
	first, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	i := first.New()
	if err := os.WriteFile(path, []byte("function netflow(flow) return true end"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := i.Keep(flow()), second.New().Keep(flow()); a || !b {
		t.Errorf("before the reload kept %v, after it %v", a, b)
	}
	if a, b := first.Stats(), second.Stats(); a.Calls != 1 || b.Calls != 1 || b.Dropped != 0 {
		t.Errorf("%+v, %+v", a, b)
	}
}

// TestAllocations: a script that looks at numbers only makes nothing new for a record like the one before.
func TestAllocations(t *testing.T) {
	s := scriptOf(t, `local ours = networks{"203.0.113.0/24"}
		function netflow(flow) if flow.protocol == 17 and flow.dst_port == 53 and not ours:has_src(flow) then return false end return 2 end`)
	i, f := s.New(), flow()
	if n := testing.AllocsPerRun(1000, func() { f.Src = netip.AddrFrom4([4]byte{192, 0, 2, byte(f.Bytes)}); i.Keep(f); f.Rate = 1 }); n != 0 {
		t.Errorf("got %v allocations a record", n)
	}
}
