package plugin

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
	"weir/userspace/traffic"
)

// The examples, as they are run by Weir.

func python(t *testing.T, script string, kind Kind, settings string) Options {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../examples/plugins", script))
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Name: "example", Command: []string{need.Tool(t, "python3", "python3"), "-B", path}, Kinds: []Kind{kind}, Folder: shortDir(t),
		Settings: settings, Limits: Limits{BackoffFirst: time.Millisecond},
	}
}

// inForce is what a mitigator has said.
type inForce struct {
	Number  uint64
	Results []Result
}

func TestPythonSink(t *testing.T) {
	file := filepath.Join(t.TempDir(), "attacks.jsonl")
	p, _, _ := start(t, python(t, "attacks_to_file.py", KindSink, `{"file": `+strconv.Quote(file)+`}`), nothing())
	changes := []traffic.Change{
		{Kind: traffic.ChangeStarted, At: time.Unix(1700000000, 0), Record: record("one", traffic.Ban{})},
		{Kind: traffic.ChangeEnded, At: time.Unix(1700000060, 0), Record: record("one", traffic.Ban{})},
	}
	if err := p.Tell(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	// They are taken once they are on the disk.
	taken(t, p, 2)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time": "2023-11-14T22:13:20Z", "kind": "started", "attack": "one", "target": "192.0.2.9"}
{"time": "2023-11-14T22:14:20Z", "kind": "ended", "attack": "one", "target": "192.0.2.9"}
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("file (-want +got)\n%s", diff)
	}
}

// taken waits until the change with a number is acknowledged.
func taken(t *testing.T, p *Plugin, number uint64) {
	t.Helper()
	late := time.After(patience)
	for {
		p.changes.mu.Lock()
		first := p.changes.first
		if p.changes.space == nil {
			p.changes.space = make(chan struct{})
		}
		space := p.changes.space
		p.changes.mu.Unlock()
		if first > number {
			return
		}
		select {
		case <-space:
		case <-late:
			t.Fatalf("change %d was not taken: %+v", number, p.Stats())
		}
	}
}

func TestPythonMitigator(t *testing.T) {
	file := filepath.Join(t.TempDir(), "banned")
	applied := make(chan inForce, 10)
	c := nothing()
	c.Applied = func(number uint64, results []Result) { applied <- inForce{number, append([]Result(nil), results...)} }
	p, _, _ := start(t, python(t, "ban_list.py", KindMitigator, `{"file": `+strconv.Quote(file)+`}`), c)
	ban := traffic.Ban{Since: time.Unix(1, 0), Drop: true}
	group := record("group", ban)
	group.Attack.Target = traffic.Target{Scope: traffic.ScopeGroup, Group: "web"}
	for i, tt := range []struct {
		records []traffic.Record
		results []Result
		file    string
	}{
		{[]traffic.Record{record("a", ban), group}, []Result{{AttackID: "a", InForce: true}, {AttackID: "group", Message: "a hostgroup has no address"}}, "192.0.2.9\n"},
		{nil, nil, ""},
	} {
		p.SetBans(tt.records)
		select {
		case got := <-applied:
			if diff := cmp.Diff(inForce{uint64(i + 1), tt.results}, got); diff != "" {
				t.Errorf("result (-want +got)\n%s", diff)
			}
		case <-time.After(patience):
			t.Fatalf("nothing was applied: %+v", p.Stats())
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.file, string(text)); diff != "" {
			t.Errorf("file (-want +got)\n%s", diff)
		}
	}
}

func TestGoSource(t *testing.T) {
	program := filepath.Join(t.TempDir(), "csvflows")
	if out, err := exec.Command("go", "build", "-o", program, "../../examples/plugins/csvflows").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	file := filepath.Join(t.TempDir(), "flows.csv")
	lines := "192.0.2.1,198.51.100.1,17,53,4444,10,15000\nnonsense\n2001:db8::1, 2001:db8::2, 6, 1, 2, 3, 180\n192.0.2.1,2001:db8::2,6,1,2,3,180\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	flows := make(chan string, 10)
	c := nothing()
	c.Flows = func(batch []traffic.Flow) {
		for i := range batch {
			f := &batch[i]
			flows <- strings.Join([]string{f.Src.String(), f.Dst.String(), strconv.Itoa(int(f.Protocol)), strconv.Itoa(int(f.DstPort)), strconv.Itoa(int(f.Bytes)), f.Source.String()}, " ")
		}
	}
	o := Options{Name: "example", Command: []string{program}, Kinds: []Kind{KindSource}, Folder: shortDir(t), Settings: `{"file": ` + strconv.Quote(file) + `}`}
	p, log, _ := start(t, o, c)
	for _, want := range []string{"192.0.2.1 198.51.100.1 17 4444 15000 ipfix", "2001:db8::1 2001:db8::2 6 2 180 ipfix"} {
		select {
		case got := <-flows:
			if got != want {
				t.Errorf("flow %s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("no flow came: %+v", p.Stats())
		}
	}
	log.until(t, "line 2: 1 fields")
	refused := log.until(t, "refused ")
	if got := refused[len(refused)-1]; !strings.HasSuffix(got, "source and destination are of two IP versions") {
		t.Errorf("it says %q", got)
	}
}

// The page's program runs as it stands there.
func TestDocumentedSink(t *testing.T) {
	page, err := os.ReadFile("../../docs/PLUGINS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```python\n")
	script, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("docs/PLUGINS.md has no program")
	}
	path := filepath.Join(t.TempDir(), "sink.py")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	o := python(t, "", KindSink, "")
	o.Command = []string{o.Command[0], "-u", path}
	p, log, _ := start(t, o, nothing())
	if err := p.Tell(t.Context(), []traffic.Change{{Record: record("one", traffic.Ban{})}}); err != nil {
		t.Fatal(err)
	}
	log.until(t, "started 192.0.2.9")
	taken(t, p, 1)
}
