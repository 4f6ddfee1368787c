package structure

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"weir/tests/need"
)

// The committed objects and their Go code are what the C says, rebuilt in a copy of the tree by the pinned compiler.
func TestGeneratedObjects(t *testing.T) {
	need.Tool(t, "clang-14", "clang-14")
	need.Tool(t, "llvm-strip-14", "llvm-14")
	generated := regexp.MustCompile(`_bpfel\.(go|o)$`)
	copied := t.TempDir()
	committed := map[string][]byte{}
	files(t, func(name string, data []byte) {
		if generated.MatchString(name) {
			committed[name] = data
			data = nil // what the generator does not write is found to be empty
			if filepath.Ext(name) == ".go" {
				return // and does not break the package for the generator
			}
		}
		to := filepath.Join(copied, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if len(committed) == 0 {
		t.Fatal("no generated file was found")
	}
	cmd := exec.Command("go", "generate", "-run", "bpf2go", "./...")
	cmd.Dir = copied
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go generate: %v\n%s", err, out)
	}
	for name, want := range committed {
		got, err := os.ReadFile(filepath.Join(copied, name))
		if err != nil {
			t.Errorf("%s is committed, and no directive generates it: %v", name, err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run make generate", name)
		}
	}
}
