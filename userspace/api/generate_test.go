package api

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"weir/tests/need"

	"github.com/google/go-cmp/cmp"
)

// What is committed is what weir.proto says.
func TestGeneratedCodeIsFresh(t *testing.T) {
	need.Tool(t, "protoc", "protobuf-compiler and libprotobuf-dev")
	out := t.TempDir()
	if text, err := exec.Command("./generate.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, text)
	}
	for _, name := range []string{"weirpb/weir.pb.go", "weirpb/weirpbconnect/weir.connect.go"} {
		committed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := os.ReadFile(filepath.Join(out, "userspace/api", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(committed), string(fresh)); diff != "" {
			t.Errorf("%s is stale: go generate ./userspace/api (-committed +fresh)\n%s", name, diff)
		}
	}
}
