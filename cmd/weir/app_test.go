package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// result is what one command line did.
type result struct {
	code     int
	out, err string
}

func weir(t *testing.T, c commands, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := execute(t.Context(), append([]string{"weir"}, args...), c, terminal{out: &out, err: &err})
	return result{code, out.String(), err.String()}
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct{ line, message string }{
		{"", "missing command: expected one of run,"},
		{"nonsense", `unknown command "nonsense"`},
		{"nonsense --json", `unknown command "nonsense"`},
		{"--bogus", "unknown flag --bogus"},
		{"status --bogus", "unknown flag --bogus"},
		{"status extra", `unexpected argument "extra"`},
		{"bench", "expected one of xdp, detect, bgp"},
		{"bench nonsense", `unknown command "nonsense"`},
		{"bench xdp --hosts 0", "--hosts 0"},
		{"bench xdp --rules -1", "--rules -1"},
		{"bench detect --runs x", "--runs"},
		{"bench bgp --runs 0", "--runs"},
		{"bench capture --seconds 0", "--seconds 0"},
		{"bench capture --seconds 61", "--seconds 61"},
		{"bench capture --seconds NaN", "--seconds NaN"},
		{"ban", "missing argument IP"},
		{"ban 192.0.2.1 192.0.2.2", `unexpected argument "192.0.2.2"`},
		{"ban 192.0.2.1 --for soon", "--for"},
		{"ban 192.0.2.1 --for", "missing value of flag --for"},
		{"ban 192.0.2.1 --direction up", `--direction "up"`},
		{"unban", "missing argument IP"},
		{"unban 192.0.2.1 --hostgroup web", `unexpected argument "192.0.2.1"`},
		{"hosts --order-by weight", "expected one of pps, mbps"},
		{"hosts --limit 0", "expected 1 to 10000"},
		{"attacks --limit 10001", "expected 1 to 10000"},
		{"attacks --since -1h", "expected more than 0"},
		{"replay", "missing argument FILE"},
		{"replay F", "give --networks CIDR[,CIDR] or --config FILE"},
		{"replay F --networks 10.0.0.0/8 --threshold-pps 0", "--threshold-pps 0"},
		{"replay F --networks 10.0.0.0/8 --threshold-mbps NaN", "--threshold-mbps NaN"},
		{"run --log-level loud", "expected debug, info, warn or error"},
		{"run --log-format xml", "expected text or json"},
		{"completion", "missing argument SHELL"},
		{"completion csh", "expected bash, zsh or fish"},
		{"version now", `unexpected argument "now"`},
	} {
		t.Run(test.line, func(t *testing.T) {
			got := weir(t, commands{}, strings.Fields(test.line)...)
			if got.code != exitUsage || !strings.Contains(got.err, test.message) || !strings.Contains(got.err, "--help") || got.out != "" {
				t.Errorf("got %+v, want code 2 and %q", got, test.message)
			}
		})
	}
}

// Flags may stand before and after positional arguments, for every way to write them.
func TestFlagsAnywhere(t *testing.T) {
	want := replayOptions{File: "F.pcap", Networks: []string{"10.0.0.0/8", "2001:db8::/32"}, PPS: 5, Mbps: 2.5, Flows: 7, ConfigPath: "C", JSON: true}
	for _, line := range []string{
		"replay F.pcap --networks 10.0.0.0/8,2001:db8::/32 --threshold-pps 5 --threshold-mbps 2.5 --threshold-flows 7 --config C --json",
		"replay --json --networks 10.0.0.0/8 --networks=2001:db8::/32 --threshold-pps=5 F.pcap --threshold-mbps 2.5 -threshold-flows 7 --config=C",
		"replay --networks 10.0.0.0/8,2001:db8::/32 --threshold-pps 5 --threshold-mbps 2.5 --threshold-flows 7 --config C --json -- F.pcap",
	} {
		var got replayOptions
		done := weir(t, commands{Replay: func(_ context.Context, o replayOptions, _ io.Writer) error { got = o; return nil }}, strings.Fields(line)...)
		if done.code != exitDone {
			t.Errorf("%s: %+v", line, done)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", line, diff)
		}
	}
	var got replayOptions
	weir(t, commands{Replay: func(_ context.Context, o replayOptions, _ io.Writer) error { got = o; return nil }}, "replay", "--networks", "10.0.0.0/8", "--", "--json")
	if got.File != "--json" || got.JSON {
		t.Errorf("after --: %+v", got)
	}
}

func TestPartsGetTheirOptions(t *testing.T) {
	var got any
	c := commands{
		Run:          func(_ context.Context, o runOptions) error { got = o; return nil },
		Demo:         func(_ context.Context, o demoOptions, _ io.Writer) error { got = o; return nil },
		BenchXDP:     func(_ context.Context, o benchXDPOptions, _ io.Writer) error { got = o; return nil },
		BenchDetect:  func(_ context.Context, o benchDetectOptions, _ io.Writer) error { got = o; return nil },
		BenchBGP:     func(_ context.Context, o benchBGPOptions, _ io.Writer) error { got = o; return nil },
		BenchFlow:    func(_ context.Context, o benchFlowOptions, _ io.Writer) error { got = o; return nil },
		BenchCapture: func(_ context.Context, o benchCaptureOptions, _ io.Writer) error { got = o; return nil },
		Doctor:       func(_ context.Context, o doctorOptions, _ io.Writer) error { got = o; return nil },
	}
	for _, test := range []struct {
		line string
		want any
	}{
		{"run", runOptions{ConfigPath: defaultConfig}},
		{"run --config C --log-level debug --log-format json", runOptions{"C", "debug", "json"}},
		{"demo --json", demoOptions{JSON: true}},
		{"bench xdp", benchXDPOptions{}},
		{"bench xdp --hosts 65536 --rules 5 --json", benchXDPOptions{65536, 5, 0, true}},
		{"bench xdp --filters 1000", benchXDPOptions{Filters: 1000}},
		{"bench detect --json --runs 3", benchDetectOptions{3, true}},
		{"bench bgp --json --runs 3", benchBGPOptions{3, true}},
		{"bench bgp", benchBGPOptions{Runs: 50}},
		{"bench flow", benchFlowOptions{}},
		{"bench flow --json", benchFlowOptions{JSON: true}},
		{"bench capture", benchCaptureOptions{Seconds: 1}},
		{"bench capture --seconds 0.5 --json", benchCaptureOptions{0.5, true}},
		{"doctor --config C", doctorOptions{ConfigPath: "C"}},
	} {
		got = nil
		if done := weir(t, c, strings.Fields(test.line)...); done.code != exitDone {
			t.Errorf("%s: %+v", test.line, done)
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", test.line, diff)
		}
	}
}

func TestFailureIsTold(t *testing.T) {
	c := commands{Run: func(context.Context, runOptions) error { return errors.New("attach eth0: no such interface") }}
	if got, want := weir(t, c, "run"), (result{exitFailed, "", "weir: attach eth0: no such interface\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := weir(t, commands{}, "demo"); got.code != exitFailed || !strings.Contains(got.err, "demo: not available") {
		t.Errorf("a part that is not there: %+v", got)
	}
}

func TestHelp(t *testing.T) {
	for _, line := range []string{"--help", "ban --help", "bench xdp --help"} {
		if got := weir(t, commands{}, strings.Fields(line)...); got.code != exitDone || !strings.Contains(got.out, "USAGE") || got.err != "" {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestVersion(t *testing.T) {
	got := weir(t, commands{}, "version", "--json")
	var b build
	if err := json.Unmarshal([]byte(got.out), &b); err != nil || got.code != exitDone {
		t.Fatalf("%+v: %v", got, err)
	}
	if b.Version == "" || !strings.HasPrefix(b.Go, "go") || b.OS == "" || b.Arch == "" {
		t.Errorf("%+v", b)
	}
	if text := weir(t, commands{}, "version"); !strings.HasPrefix(text.out, "weir "+b.Version) {
		t.Errorf("%+v", text)
	}
}

func TestCompletion(t *testing.T) {
	for shell, want := range map[string]string{"bash": "complete -o", "zsh": "#compdef weir", "fish": "complete -c weir"} {
		if got := weir(t, commands{}, "completion", shell); got.code != exitDone || !strings.Contains(got.out, want) {
			t.Errorf("%s: %+v", shell, got)
		}
	}
}

// asProgram makes the test binary behave as weir itself: completion looks at the arguments of the process.
const asProgram = "WEIR_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program runs weir in a process of its own.
func program(t *testing.T, args ...string) result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	command := exec.CommandContext(t.Context(), self, args...)
	command.Env = append(os.Environ(), asProgram+"=1")
	command.Stdout, command.Stderr = &out, &said
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{command.ProcessState.ExitCode(), out.String(), said.String()}
}

func TestProgram(t *testing.T) {
	if got := program(t, "version", "--json"); got.code != exitDone || !json.Valid([]byte(got.out)) {
		t.Errorf("%+v", got)
	}
	if got := program(t, "nonsense"); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
	if got := program(t, "status", "--socket", filepath.Join(t.TempDir(), "none")); got.code != exitFailed {
		t.Errorf("%+v", got)
	}
}

// What may come next is told, and asking never runs a command.
func TestCompletionWords(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"", "unban"}, {"bench", "detect"}, {"completion", "zsh"}, {"ban --", "--reason"}, {"ban 192.0.2.1 --", "--reason"}, {"ban --r", "--reason"},
		{"ban 192.0.2.1", ""},
	} {
		got := program(t, append(strings.Fields(test.line), completionFlag)...)
		if got.code != exitDone || got.err != "" || !strings.Contains(got.out, test.want) {
			t.Errorf("after %q: %+v, want %s in it", test.line, got, test.want)
		}
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("networks:\n  - 192.0.2.1/24\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := weir(t, commands{}, "check", "--config", bad)
	lines := strings.Split(strings.TrimSpace(got.err), "\n")
	if got.code != exitFailed || got.out != "" || len(lines) < 2 {
		t.Fatalf("%+v", got)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, bad+":") {
			t.Errorf("line without its place: %s", line)
		}
	}
	asJSON := weir(t, commands{}, "check", "--json", "--config", bad)
	var v verdict
	if err := json.Unmarshal([]byte(asJSON.out), &v); err != nil || asJSON.code != exitFailed || asJSON.err != "" {
		t.Fatalf("%+v: %v", asJSON, err)
	}
	if v.Valid || len(v.Errors) != len(lines) || v.Errors[0].File != bad || v.Errors[0].Line == 0 || v.Errors[0].Column == 0 || v.Errors[0].Message == "" {
		t.Errorf("%+v", v)
	}
	if missing := weir(t, commands{}, "check", "--config", filepath.Join(dir, "none")); missing.code != exitFailed || !strings.Contains(missing.err, "no such file") {
		t.Errorf("%+v", missing)
	}
	example := filepath.Join("..", "..", "weir.example.yaml")
	if _, err := os.Stat(example); err != nil {
		t.Fatal(err)
	}
	if good := weir(t, commands{}, "check", "--config", example); good.code != exitDone || !strings.Contains(good.out, "valid") {
		t.Errorf("%+v", good)
	}
}
