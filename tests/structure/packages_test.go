package structure

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// listed is what `go list -json` says about a package.
type listed struct {
	ImportPath  string
	Name        string
	Doc         string // the first sentence
	Dir         string
	Export      string // file with the types of a compiled package
	Standard    bool
	GoFiles     []string
	CgoFiles    []string
	TestGoFiles []string
	Imports     []string
	Module      *struct{ Main bool }
	Error       *struct{ Err string }
}

func (p *listed) ours() bool { return p.Module != nil && p.Module.Main }

// list runs `go list -json` in the module's root.
func list(t *testing.T, env []string, args ...string) []*listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var packages []*listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listed)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatal("go list found no package")
	}
	return packages
}

// root is the module's root from this folder.
var root = filepath.Join("..", "..")

func TestPackageDoc(t *testing.T) {
	for _, p := range list(t, nil, "./...") {
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + filepath.Base(p.Dir) + " "
		}
		if !strings.HasPrefix(p.Doc, want) || !strings.HasSuffix(p.Doc, ".") {
			t.Errorf("%s: the package comment begins with %q; it must be a sentence that begins with %q", p.ImportPath, p.Doc, want)
		}
	}
}

// Every package exists on every system that the project builds for, without cgo: what a system cannot do is a stub there.
func TestSystems(t *testing.T) {
	for _, system := range []struct{ os, arch string }{
		{"linux", "amd64"}, {"linux", "arm64"}, {"linux", "386"}, {"freebsd", "amd64"}, {"darwin", "arm64"},
	} {
		t.Run(system.os+"/"+system.arch, func(t *testing.T) {
			for _, p := range list(t, []string{"GOOS=" + system.os, "GOARCH=" + system.arch, "CGO_ENABLED=0"}, "-e", "./...") {
				if p.Error != nil {
					t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
				}
			}
			for _, p := range list(t, []string{"GOOS=" + system.os, "GOARCH=" + system.arch, "CGO_ENABLED=1"}, "-e", "./...") {
				if len(p.CgoFiles) > 0 {
					t.Errorf("%s uses cgo: %v", p.ImportPath, p.CgoFiles)
				}
			}
		})
	}
}
