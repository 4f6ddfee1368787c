package gobgpd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apipb "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir/bgp/gobgpd/gobgppb"
	"weir/tests/need"
	"weir/tests/routers"
)

// fields prints the fields of a file's messages, as tests/gobgp4/fields does; enumerations are int32.
func fields(file protoreflect.FileDescriptor) (all []string) {
	messages := file.Messages()
	for i := range messages.Len() {
		m := messages.Get(i)
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			all = append(all, fmt.Sprintln(m.Name(), f.Name(), f.Number(), f.Kind(), f.IsList()))
		}
	}
	return all
}

// Our messages have no field that GoBGP's have not, in either version.
func TestMessages(t *testing.T) {
	ours := fields(gobgppb.File_gobgppb_gobgp_proto)
	for _, tt := range []struct {
		name   string
		theirs func() []string
	}{
		{"3", func() []string { return fields(apipb.File_gobgp_proto) }},
		{"4", func() (all []string) {
			for _, line := range routers.GoBGP4Fields(t) {
				all = append(all, line+"\n")
			}
			return all
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			theirs := tt.theirs()
			for _, line := range ours {
				var message, field, kind string
				var number int
				var list bool
				if _, err := fmt.Sscan(line, &message, &field, &number, &kind, &list); err != nil {
					t.Fatal(err)
				}
				asEnum := fmt.Sprintln(message, field, number, "enum", list)
				if !slices.Contains(theirs, line) && (kind != "int32" || !slices.Contains(theirs, asEnum)) {
					t.Errorf("GoBGP has no %s", line)
				}
			}
		})
	}
}

// The numbers of version 3's enumerations; those of version 4 are seen to be right where it takes our paths.
func TestNumbers(t *testing.T) {
	v3 := services()[0]
	got := []any{v3.globalTable, v3.exactPrefix, afiIPv4, afiIPv6, safiUnicast, safiFlowSpec, v3.prefix}
	want := []any{
		int32(apipb.TableType_GLOBAL), int32(apipb.TableLookupPrefix_EXACT), int(apipb.Family_AFI_IP), int(apipb.Family_AFI_IP6),
		int(apipb.Family_SAFI_UNICAST), int(apipb.Family_SAFI_FLOW_SPEC_UNICAST), "/" + apipb.GobgpApi_ServiceDesc.ServiceName + "/",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	for number := range apipb.PeerState_SessionState_name {
		if got, want := session(number), apipb.PeerState_SessionState(number).String(); !strings.EqualFold(got, want) {
			t.Errorf("session state %d is %q, want %q", number, got, want)
		}
	}
}

// What is committed is what gobgp.proto says.
func TestGeneratedCodeIsFresh(t *testing.T) {
	need.Tool(t, "protoc", "protobuf-compiler")
	out := t.TempDir()
	if text, err := exec.Command("./generate.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, text)
	}
	const name = "gobgppb/gobgp.pb.go"
	committed, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := os.ReadFile(filepath.Join(out, "bgp/gobgpd", name))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(fresh)); diff != "" {
		t.Errorf("%s is stale: go generate ./bgp/gobgpd (-committed +fresh)\n%s", name, diff)
	}
}
