package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"weir/userspace/api/weirpb"
)

// newMessage makes a message with every message field present and one element in every list of messages.
func newMessage(t *testing.T, name protoreflect.FullName) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		t.Fatal(err)
	}
	m := kind.New()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.IsList() && f.Message() != nil {
			m.Mutable(f).List().AppendMutable()
		} else if !f.IsList() && f.Message() != nil {
			m.Mutable(f)
		}
	}
	return m.Interface()
}

// What scripts read: names of this project, numbers as numbers, nothing left out.
func TestAppendJSON(t *testing.T) {
	attack := sampleAttack()
	attack.Attack.Target.Group = "a \"b\"\n"
	got, err := AppendJSON(nil, &weirpb.AttacksResponse{Attacks: []*weirpb.Attack{attackOut(&attack)}})
	if err != nil {
		t.Fatal(err)
	}
	zero := `{"total":{"packets":0,"bytes":0},"flows":0,"tcp":{"packets":0,"bytes":0},"udp":{"packets":0,"bytes":0},"icmp":{"packets":0,"bytes":0},` +
		`"tcp_syn":{"packets":0,"bytes":0},"fragments":{"packets":0,"bytes":0},"dropped":{"packets":0,"bytes":0}}`
	want := `{"attacks":[{"id":"20260304-1","scope":"host","target":"192.0.2.1","hostgroup":"a \"b\"\n","direction":"incoming","phase":"mitigated",` +
		`"metric":"udp_mbps","value":3000,"threshold":1000,"counted":5,"window":1,"started":"2026-03-04T05:06:07.00000089Z","detected":"2026-03-04T05:06:08.00000089Z",` +
		`"ended":null,"incoming_rate":` + zero + `,"outgoing_rate":` + zero + `,"peak":` + zero + `,"volume":` + strings.Replace(zero, `"dropped":{"packets":0,"bytes":0}`, `"dropped":{"packets":7,"bytes":420}`, 1) +
		`,"hosts":1,"manual":false,"held":"the kill switch is on","ban":null,"lower":0,"samples":0,"confidence":0,"analysis":null}]}`
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if !json.Valid(got) {
		t.Error("not JSON")
	}
}

// Every kind of field that weir.proto has can be written.
func TestAppendJSONEveryMessage(t *testing.T) {
	messages := weirpb.File_weirpb_weir_proto.Messages()
	for i := range messages.Len() {
		m := messages.Get(i)
		if out, err := AppendJSON(nil, newMessage(t, m.FullName())); err != nil || !json.Valid(out) {
			t.Errorf("%s: %v in %s", m.FullName(), err, out)
		}
	}
}
