package structure

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents calls f with every Markdown file of the project, by its path from the root.
func documents(t *testing.T, f func(name, text string)) {
	t.Helper()
	files(t, func(name string, data []byte) {
		if path.Ext(name) == ".md" {
			f(name, string(data))
		}
	})
}

// A link to another file of the project finds it.
func TestDocumentLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	found := 0
	documents(t, func(name, text string) {
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			to, _, _ := strings.Cut(match[1], "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(path.Join(path.Dir(name), to)))); err != nil {
				t.Errorf("%s links to %s: %v", name, match[1], err)
			}
		}
	})
	if found == 0 {
		t.Error("no link was found")
	}
}

// A command that a document names is one, and so is each of its flags.
func TestDocumentCommands(t *testing.T) {
	weir := filepath.Join(t.TempDir(), "weir")
	build := exec.Command("go", "build", "-o", weir, "./cmd/weir")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	known := map[string]string{}
	help := func(command string) string {
		if text, ok := known[command]; ok {
			return text
		}
		out, err := exec.Command(weir, append(strings.Fields(command), "--help")...).Output()
		if err != nil || !strings.Contains(string(out), "weir "+command+" - ") {
			out = nil // the help of what stands above it
		}
		known[command] = string(out)
		return known[command]
	}
	span := regexp.MustCompile("`weir ([a-z][^`]*)`")
	flag := regexp.MustCompile(`(^|\s)(--[a-z-]+)`)
	found := 0
	documents(t, func(name, text string) {
		for _, match := range span.FindAllStringSubmatch(text, -1) {
			found++
			words := strings.Fields(match[1])
			command := words[0]
			if strings.Contains(help(command), "COMMANDS:") && len(words) > 1 && !strings.HasPrefix(words[1], "-") {
				command += " " + words[1]
			}
			usage := help(command)
			if usage == "" {
				t.Errorf("%s names `weir %s`, and there is no such command", name, match[1])
				continue
			}
			for _, f := range flag.FindAllStringSubmatch(match[1], -1) {
				if !strings.Contains(usage, f[2]+" ") {
					t.Errorf("%s names `weir %s`, which has no %s", name, match[1], f[2])
				}
			}
		}
	})
	if found == 0 {
		t.Error("no command was found")
	}
}
