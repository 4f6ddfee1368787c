package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// call is one run of the notify script, as the script has seen it.
type call struct {
	args  []string
	env   map[string]string // what Weir has added
	stdin string
}

func (c call) String() string { return strings.Join(c.args, " ") }

// script is a notify script that tells of its calls by a pipe.
type script struct {
	path  string
	calls feed[call]
}

// newScript writes the script. Each call leaves a file and writes its name and arguments to the pipe, in one piece.
func newScript(t *testing.T) *script {
	t.Helper()
	folder := t.TempDir()
	pipe := filepath.Join(folder, "calls")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatalf("make pipe: %v", err)
	}
	s := &script{path: filepath.Join(folder, "notify.sh")}
	text := fmt.Sprintf("#!/bin/sh\n{ env | grep ^WEIR_; echo; cat; } > '%[1]s'/$$\necho $$ \"$@\" > '%[1]s/calls'\n", folder)
	if err := os.WriteFile(s.path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	// Open for both directions, so that there is no end of file between two calls.
	reader, err := os.OpenFile(pipe, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			c, err := readCall(folder, lines.Text())
			if err != nil {
				t.Errorf("read call of the script: %v", err)
				continue
			}
			s.calls.add(c)
		}
	}()
	t.Cleanup(func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return s
}

func readCall(folder, line string) (call, error) {
	name, args, _ := strings.Cut(line, " ")
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return call{}, err
	}
	env, stdin, _ := strings.Cut(string(text), "\n\n")
	if rest, none := strings.CutPrefix(string(text), "\n"); none {
		env, stdin = "", rest
	}
	c := call{args: strings.Fields(args), env: map[string]string{}, stdin: stdin}
	for line := range strings.Lines(env) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		c.env[key] = value
	}
	return c, nil
}

// await returns the first call with the action on the subject.
func (s *script) await(t *testing.T, subject, action string) call {
	t.Helper()
	return s.calls.await(t, fmt.Sprintf("call of the script: %s %s", subject, action), 0, nil, func(c call) bool {
		return len(c.args) == 4 && c.args[0] == subject && c.args[3] == action
	})
}
