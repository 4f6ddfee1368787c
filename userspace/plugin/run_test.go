package plugin

import (
	"os"
	"os/user"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"weir/tests/need"
	"weir/userspace/plugin/pluginpb"
)

func TestProgramRunsAsItsUser(t *testing.T) {
	need.Root(t)
	nobody, err := user.Lookup("nobody")
	if err != nil {
		need.Missing(t, "no user nobody: %v", err)
	}
	o := testOptions(t, "")
	if err := os.Chmod(o.Folder, 0o711); err != nil {
		t.Fatal(err)
	}
	o.Folder += "/plugins"
	o.User = "nobody"
	o.Command = []string{"/bin/sh", "-c", `id -u; test -w "$WEIR_PLUGIN_SOCKET" && echo socket; touch "${WEIR_PLUGIN_SOCKET}2" 2>/dev/null && echo folder; env; echo done; read -r line`}
	t.Setenv("WEIR_SECRET", "1")
	_, log, _ := start(t, o, nothing())
	lines := log.until(t, "done")
	if len(lines) < 2 || lines[0] != nobody.Uid || lines[1] != "socket" || lines[2] == "folder" {
		t.Errorf("lines %q", lines)
	}
	for _, l := range lines {
		if strings.HasPrefix(l, "WEIR_SECRET=") {
			t.Error("Weir's own environment was handed on")
		}
	}
}

// An empty record takes two bytes on the wire: many are refused before they take up memory.
func TestManyEmptyRecordsAreNotDecoded(t *testing.T) {
	p, err := New(testOptions(t, "fine"), nothing(), nilLog())
	if err != nil {
		t.Fatal(err)
	}
	wire := []byte(strings.Repeat("\x0a\x00", 1<<20))
	text := []byte(`{"flows":[` + strings.Repeat("{},", 1<<20) + `{}]}`)
	for _, c := range []interface{ Unmarshal([]byte, any) error }{&binaryCodec{p}, &jsonCodec{p, "json"}} {
		b := wire
		if _, ok := c.(*jsonCodec); ok {
			b = text
		}
		var m pluginpb.SendFlowsRequest
		if err := c.Unmarshal(b, &m); err == nil || len(m.GetFlows()) > 0 {
			t.Errorf("%T: %d records, error %v", c, len(m.GetFlows()), err)
		}
	}
	if s := p.Stats(); s.Failed != 2 || s.Flooded < 2<<20 {
		t.Errorf("stats %+v", s)
	}
	good, err := proto.Marshal(&pluginpb.SendFlowsRequest{Flows: make([]*pluginpb.Flow, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var m pluginpb.SendFlowsRequest
	if err := (&binaryCodec{p}).Unmarshal(good, &m); err != nil || len(m.GetFlows()) != 1 {
		t.Errorf("%d records, error %v", len(m.GetFlows()), err)
	}
}

// Whatever the bytes, there is a message that flowIn and frameIn take or refuse, and nothing else happens.
func FuzzRecords(f *testing.F) {
	p, err := New(Options{Name: "a", Command: []string{"/a"}, Kinds: []Kind{KindSource}, Folder: "/a"}, nothing(), nilLog())
	if err != nil {
		f.Fatal(err)
	}
	seed, err := proto.Marshal(&pluginpb.SendFlowsRequest{Flows: []*pluginpb.Flow{goodFlow()}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"flows":[{"source":"192.0.2.1"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []interface{ Unmarshal([]byte, any) error }{&binaryCodec{p}, &jsonCodec{p, "json"}} {
			var flows pluginpb.SendFlowsRequest
			if c.Unmarshal(b, &flows) == nil {
				taken, _ := read(p, "flow record", flows.GetFlows(), flowIn)
				for i := range taken {
					if !taken[i].Src.IsValid() || taken[i].Rate == 0 || taken[i].Packets == 0 {
						t.Errorf("flow %+v", taken[i])
					}
				}
			}
			var packets pluginpb.SendPacketsRequest
			if c.Unmarshal(b, &packets) == nil {
				taken, _ := read(p, "packet", packets.GetPackets(), frameIn)
				for i := range taken {
					if int(taken[i].Length) < len(taken[i].Data) || len(taken[i].Data) == 0 {
						t.Errorf("frame %+v", taken[i])
					}
				}
			}
		}
	})
}
