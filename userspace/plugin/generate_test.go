package plugin

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"weir/tests/need"

	"github.com/google/go-cmp/cmp"
)

// What is committed is what plugin.proto says.
func TestGeneratedCodeIsFresh(t *testing.T) {
	need.Tool(t, "protoc", "protobuf-compiler and libprotobuf-dev")
	out := t.TempDir()
	if text, err := exec.Command("./generate.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, text)
	}
	for _, name := range []string{"pluginpb/plugin.pb.go", "pluginpb/pluginpbconnect/plugin.connect.go"} {
		committed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := os.ReadFile(filepath.Join(out, "userspace/plugin", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(committed), string(fresh)); diff != "" {
			t.Errorf("%s is stale: go generate ./userspace/plugin (-committed +fresh)\n%s", name, diff)
		}
	}
}
