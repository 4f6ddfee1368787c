package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/loader"
	"weir/userspace/config"
)

func TestJudge(t *testing.T) {
	remedy := "do this"
	for _, tt := range []struct {
		name       string
		in         loader.Finding
		configured bool
		want       Status
		remedy     string
	}{
		{"fine", loader.Finding{Name: "kernel", OK: true}, false, OK, ""},
		{"fine, could be better", loader.Finding{Name: "mtu", Interface: "eth0", OK: true, Remedy: remedy}, true, OK, remedy},
		{"needed", loader.Finding{Name: "kernel", Remedy: remedy}, false, Missing, remedy},
		{"optional", loader.Finding{Name: "tcx", Optional: true, Remedy: remedy}, false, Warn, remedy},
		{"needed, of a configured interface", loader.Finding{Name: "interface", Interface: "eth0", Remedy: remedy}, true, Missing, remedy},
		{"needed, of any interface", loader.Finding{Name: "xdp_program", Interface: "eth0", Detail: `"firewall" (id 3, native)`, Remedy: remedy}, false, Warn, remedy},
		{"somebody else's program", loader.Finding{Name: "xdp_program", Interface: "eth0", Detail: `"firewall" (id 3, native)`, Remedy: remedy}, true, Missing, remedy},
		{"our own program", loader.Finding{Name: "xdp_program", Interface: "eth0", Detail: `"weir_xdp" (id 3, native)`, Remedy: remedy}, true, OK, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.in, tt.configured); got.Status != tt.want || got.Remedy != tt.remedy || got.Interface != tt.in.Interface {
				t.Errorf("got %+v, want status %s and remedy %q", got, tt.want, tt.remedy)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const complete = `interfaces: [{name: weirt0}]
networks: {prefixes: [192.0.2.0/24], files: [ours.list]}
hostgroups: {default: {thresholds: {pps: 1000}}}
api: {socket: weir.sock, group: ""}
store: {path: below/weir.db}
notify: {script: {path: notify.sh}}
`

func TestExamine(t *testing.T) {
	nobody := func(_ context.Context, interfaces ...string) []loader.Finding {
		return []loader.Finding{{Name: "interface", Interface: strings.Join(interfaces, " "), OK: true, Detail: "up"}}
	}
	for _, tt := range []struct {
		name, config string
		prepare      func(t *testing.T, folder string)
		want         map[string]Status
	}{
		{"all is well", complete, func(*testing.T, string) {},
			map[string]Status{"interface weirt0": OK, "config": OK, "list_files": OK, "api_socket": Warn, "store": OK, "notify_script": OK}},
		{"a daemon", complete, func(t *testing.T, folder string) {
			l, err := net.Listen("unix", filepath.Join(folder, "weir.sock"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}, map[string]Status{"interface weirt0": OK, "config": OK, "list_files": OK, "api_socket": OK, "store": OK, "notify_script": OK}},
		{"script without right to run", complete, func(t *testing.T, folder string) {
			if err := os.Chmod(filepath.Join(folder, "notify.sh"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, map[string]Status{"interface weirt0": OK, "config": OK, "list_files": OK, "api_socket": Warn, "store": OK, "notify_script": Missing}},
		{"store below a file", strings.Replace(complete, "below/", "notify.sh/", 1), func(*testing.T, string) {},
			map[string]Status{"interface weirt0": OK, "config": OK, "list_files": OK, "api_socket": Warn, "store": Missing, "notify_script": OK}},
		{"unknown group", strings.Replace(complete, `""`, "weir-no-such-group", 1), func(*testing.T, string) {},
			map[string]Status{"interface weirt0": OK, "config": OK, "list_files": OK, "api_socket": Warn, "store": OK, "notify_script": OK, "api_group": Warn}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, filepath.Join(folder, "ours.list"), "198.51.100.0/24\n", 0o600)
			write(t, filepath.Join(folder, "notify.sh"), "#!/bin/sh\n", 0o700)
			path := write(t, filepath.Join(folder, "weir.yaml"), tt.config, 0o600)
			tt.prepare(t, folder)
			got := map[string]Status{}
			for _, f := range examine(t.Context(), path, nobody) {
				got[strings.TrimSpace(f.Name+" "+f.Interface)] = f.Status
				if f.Status != OK && f.Remedy == "" {
					t.Errorf("no remedy: %+v", f)
				}
				if f.Detail == "" {
					t.Errorf("no detail: %+v", f)
				}
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("findings (-got +want):\n%s", diff)
			}
		})
	}
}

// A configuration that cannot be used is said so, and the machine is examined all the same.
func TestExamineBrokenConfig(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"mistake", "interfaces: 3\n", "weir.yaml:1:13"},
		{"list file that is not there", "networks: {files: [none.list]}\n", "none.list"},
		{"no file", "", "read configuration"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "weir.yaml")
			if tt.text != "" {
				write(t, path, tt.text, 0o600)
			}
			var found Finding
			probed := false
			for _, f := range examine(t.Context(), path, func(context.Context, ...string) []loader.Finding { probed = true; return nil }) {
				if f.Name == "config" {
					found = f
				}
			}
			if found.Status != Missing || !strings.Contains(found.Detail, tt.want) || found.Remedy == "" || !probed {
				t.Errorf("got %+v (probed %v), want missing because of %s", found, probed, tt.want)
			}
		})
	}
}

func TestWritable(t *testing.T) {
	folder := t.TempDir()
	file := write(t, filepath.Join(folder, "file"), "", 0o600)
	for _, tt := range []struct {
		path string
		ok   bool
	}{
		{folder, true},
		{file, true},
		{filepath.Join(folder, "new"), true},
		{filepath.Join(folder, "new", "deep", "down"), true},
		{filepath.Join(file, "below"), false},
	} {
		if err := writable(tt.path); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want writable %v", tt.path, err, tt.ok)
		}
	}
}

func TestPrint(t *testing.T) {
	all := []Finding{
		{Name: "kernel", Status: OK, Detail: "Linux 6.1"},
		{Name: "mtu", Interface: "eth0", Status: Warn, Detail: "9000\tbytes\x1b", Remedy: "less"},
		{Name: "store", Status: Missing, Detail: "read-only", Remedy: "another"},
	}
	var table, line bytes.Buffer
	if err := printTable(&table, all); err != nil {
		t.Fatal(err)
	}
	if err := printLine(&line, all); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"STATUS   WHAT      FOUND",
		"ok       kernel    Linux 6.1",
		"warn     eth0 mtu  9000 bytes ",
		"                   -> less",
		"missing  store     read-only",
		"                   -> another",
		"",
	}, "\n")
	if diff := cmp.Diff(table.String(), want); diff != "" {
		t.Errorf("table (-got +want):\n%s", diff)
	}
	var got struct {
		OK       bool
		Findings []Finding
	}
	if err := json.Unmarshal(line.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.Findings, all); got.OK || diff != "" {
		t.Errorf("ok %v, findings (-got +want):\n%s", got.OK, diff)
	}
}

// On the machine that the tests run on, whatever it lacks: findings are printed, and the error names exactly what is missing.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Options{JSON: true}, &out)
	var got struct {
		OK       bool
		Findings []Finding
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, f := range got.Findings {
		if f.Status == Missing {
			missing = append(missing, strings.TrimSpace(f.Name+" "+f.Interface))
		}
	}
	if len(got.Findings) < 3 || got.OK != (err == nil) || err != nil && err.Error() != "missing: "+strings.Join(missing, ", ") {
		t.Errorf("got %d findings, ok %v, error %v; missing are %v", len(got.Findings), got.OK, err, missing)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(cancelled, Options{}, &out); err == nil {
		t.Error("a cancelled examination has given no error")
	}
}

func TestDefaultsAreExamined(t *testing.T) {
	cfg, all := readConfig("")
	if diff := cmp.Diff(cfg, config.Default()); diff != "" || all != nil {
		t.Errorf("without a file: %v, configuration (-got +want):\n%s", all, diff)
	}
}
