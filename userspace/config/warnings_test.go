package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWarnings(t *testing.T) {
	const whole = "networks: {prefixes: [192.0.2.0/24]}\ninterfaces: [{name: eth0}]\n"
	tests := map[string]struct {
		text string
		want []Error
	}{
		"none":  {whole + "hostgroups: {default: {thresholds: {pps: 1}}}\n", nil},
		"empty": {"", []Error{{"weir.yaml", 1, 1, "no interfaces: nothing will be measured here"}, {"weir.yaml", 1, 1, "no thresholds: nothing will be detected"}}},
		"thresholds of a disabled direction": {
			whole + "hostgroups: {default: {thresholds: {incoming: {pps: 1}}, enabled: {incoming: false}}}\n",
			[]Error{{"weir.yaml", 1, 1, "no thresholds: nothing will be detected"}},
		},
		"group without networks": {
			whole + "hostgroups: {default: {total_thresholds: {pps: 1}}, web: {quiet: 1s}}\n",
			[]Error{{"weir.yaml", 3, 53, `hostgroup "web" has no networks: no host belongs to it`}},
		},
		"window beside an inherited average": {
			whole + "hostgroups: {default: {prefix_thresholds: {pps: 1}, average: ewma 5s}, web: {networks: [192.0.2.1], window: 1s}}\n",
			[]Error{{"weir.yaml", 3, 109, `"hostgroups.web.window" has no effect: the hostgroup has "average"; set it to off to use the window`}},
		},
		"never-ban list of somebody else": {
			whole + "hostgroups: {default: {thresholds: {pps: 1}}}\nnever_ban: {prefixes: [192.0.0.0/16, 8.8.8.8]}\n",
			[]Error{{"weir.yaml", 4, 38, `8.8.8.8/32 in "never_ban" has no effect: it is not in your own networks, and only hosts of yours are ever banned`}},
		},
		"empty list file": {
			whole + "hostgroups: {default: {thresholds: {pps: 1}}}\nnever_ban: {files: [lists/empty.txt]}\n",
			[]Error{{"weir.yaml", 4, 21, `"never_ban.files": list file lists/empty.txt holds no network`}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]Error(mustParse(t, test.text).Warnings), test.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

// TestLoad: a configuration on disk, its list file beside it, and a notify script in all states.
func TestLoad(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("own.list", "192.0.2.0/24\n", 0o600)
	write("runs.sh", "#!/bin/sh\n", 0o700)
	write("plain.sh", "#!/bin/sh\n", 0o600)
	tests := map[string]string{
		"runs.sh":    "",
		"plain.sh":   "it is not executable; use chmod +x",
		"missing.sh": "no such file or directory",
		".":          "it is a folder",
	}
	for script, problem := range tests {
		t.Run(script, func(t *testing.T) {
			write("weir.yaml", "networks: {files: [own.list]}\ninterfaces: [{name: eth0}]\nhostgroups: {default: {thresholds: {pps: 1}}}\n"+
				"notify: {script: {path: "+script+"}}\n", 0o600)
			path := filepath.Join(folder, "weir.yaml")
			c, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			var want []Error
			if problem != "" {
				want = []Error{{path, 4, 25, `"notify.script.path": cannot run ` + filepath.Join(folder, script) + ": " + problem}}
			}
			if diff := cmp.Diff(c.Warnings, want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			if diff := cmp.Diff(c.Networks.Prefixes, prefixes("192.0.2.0/24"), compareNet); diff != "" {
				t.Errorf("networks (-got +want)\n%s", diff)
			}
		})
	}
}

func TestLoadWithoutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	c, err := Load(path)
	var errs Errors
	if c != nil || errors.As(err, &errs) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, %v, want an error that is not about the file's text", c, err)
	}
	if want := "read configuration " + path + ": no such file or directory"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// TestManyErrors: a binary file named as a list must not fill the terminal, and loses no count.
func TestManyErrors(t *testing.T) {
	_, err := Parse("weir.yaml", []byte("networks: {files: [list]}\n"), func(string) ([]byte, error) {
		return []byte(strings.Repeat("x\n", maxErrors+10)), nil
	})
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != maxErrors {
		t.Fatalf("got %d errors, want %d", len(errs), maxErrors)
	}
	if last := errs[maxErrors-1].Message; !strings.HasPrefix(last, "and 11 more errors") {
		t.Errorf("got last message %q", last)
	}
}
