package plugin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"weir/userspace/plugin/pluginpb"
	"weir/userspace/plugin/pluginpb/pluginpbconnect"
)

// The test's own binary is the program that the tests run, when this variable says what it is to do.
const modeVariable = "WEIR_TEST_PROGRAM"

// A socket that the program's child connects to.
const aliveVariable = "WEIR_TEST_ALIVE"

// hang waits for what never comes: the end of what is open as long as Weir lives, or the test.
func hang(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeVariable); mode != "" {
		if err := program(mode); err != nil {
			fmt.Println("error:", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// dialer speaks to the socket that Weir has handed over.
func dialer() func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", os.Getenv("WEIR_PLUGIN_SOCKET"))
	}
}

func client(options ...connect.ClientOption) pluginpbconnect.PluginHostClient {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return pluginpbconnect.NewPluginHostClient(&http.Client{Transport: &http.Transport{Protocols: protocols, DialContext: dialer()}}, "http://weir", options...)
}

func post(name, body string) (int, string, error) {
	c := &http.Client{Transport: &http.Transport{DialContext: dialer(), DisableKeepAlives: true}}
	r, err := c.Post("http://weir/weir.plugin.v1.PluginHost/"+name, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, strings.TrimSpace(string(text)), err
}

// program is what a plug-in does, by what is to be tested. What it prints, Weir logs.
func program(mode string) error {
	ctx := context.Background()
	hello := &pluginpb.HelloRequest{Version: mode, Kinds: []pluginpb.Kind{
		pluginpb.Kind_KIND_SOURCE, pluginpb.Kind_KIND_SINK, pluginpb.Kind_KIND_DETECTOR, pluginpb.Kind_KIND_MITIGATOR,
	}}
	switch mode {
	case "crash":
		return fmt.Errorf("as I was told")
	case "mute":
		return hang(os.Stdin)
	case "held": // a connection says for how long it lives
		c, err := net.Dial("unix", os.Getenv(aliveVariable))
		if err != nil {
			return err
		}
		if _, err := io.CopyN(os.Stdout, c, 1); err != nil {
			return err
		}
		return hang(c)
	case "early": // calls before Hello, and then as what it is not
		fmt.Println(post("NextBans", "{}"))
		fmt.Println(post("Hello", `{"kinds":["KIND_MITIGATOR"]}`))
		fmt.Println(post("Hello", `{"kinds":["KIND_SINK"],"version":"1"}`))
		fmt.Println(post("SendFlows", `{"flows":[]}`))
		fmt.Println(post("NextChanges", `{"after":"7"}`))
		fmt.Println(post("NextChanges", `{"after":"x"}`))
		fmt.Println(post("NextChanges", `{`))
		fmt.Println(post("Nonsense", `{}`))
		fmt.Println("done")
		return hang(os.Stdin)
	case "stubborn", "leaving": // ends neither by itself nor when it is asked to, and neither does what it has started; or leaves that behind
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), modeVariable+"=held")
		told, tell, err := os.Pipe()
		if err != nil {
			return err
		}
		child.Stdout = tell
		signal.Ignore(syscall.SIGTERM)
		if err := child.Start(); err != nil {
			return err
		}
		if mode == "leaving" {
			_, err := told.Read(make([]byte, 1)) // until the test lets it go
			return err
		}
	case "silent":
		hello.Alive = durationpb.New(time.Second)
	case "noise":
		for i := range 1000 {
			fmt.Fprintln(os.Stderr, "line", i, strings.Repeat("x", 5000))
		}
	case "slow": // a request that never comes to its end
		c, err := dialer()(ctx, "", "")
		if err != nil {
			return err
		}
		fmt.Fprint(c, "POST /weir.plugin.v1.PluginHost/Hello HTTP/1.1\r\nHost: weir\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		answer, err := io.ReadAll(c)
		fmt.Println("ended with", len(answer) > 0, err)
	}
	c := client()
	answer, err := c.Hello(ctx, connect.NewRequest(hello))
	if err != nil {
		return err
	}
	switch mode {
	case "flood":
		batch := make([]*pluginpb.Flow, answer.Msg.GetFlows())
		for i := range batch {
			batch[i] = &pluginpb.Flow{Source: "192.0.2.1", Destination: "198.51.100.1", Packets: 1, Bytes: 100}
		}
		for _, n := range []int{len(batch), len(batch), len(batch) + 1} {
			_, err := c.SendFlows(ctx, connect.NewRequest(&pluginpb.SendFlowsRequest{Flows: append(batch, batch[0])[:n]}))
			fmt.Println(n, connect.CodeOf(err), err)
		}
		fmt.Println(post("SendFlows", `{"flows":[`+strings.Repeat("{},", 20000)+`{}]}`))
		_, err := c.SendPackets(ctx, connect.NewRequest(&pluginpb.SendPacketsRequest{Packets: []*pluginpb.Packet{{Frame: make([]byte, 1<<20)}}}))
		fmt.Println(connect.CodeOf(err))
		fmt.Println("done")
	case "calls": // more at once than there may be
		for range 2 {
			go func() {
				_, err := c.NextChanges(ctx, connect.NewRequest(&pluginpb.NextChangesRequest{Wait: durationpb.New(time.Hour)}))
				fmt.Println("call:", err)
			}()
		}
	case "follow": // prints all that streams bring
		return follow(ctx, c)
	case "talk":
		return talk(ctx, c)
	}
	return hang(os.Stdin)
}

func follow(ctx context.Context, c pluginpbconnect.PluginHostClient) error {
	changes, err := c.Changes(ctx, connect.NewRequest(&pluginpb.ChangesRequest{}))
	if err != nil {
		return err
	}
	for range 2 {
		if !changes.Receive() {
			return changes.Err()
		}
		fmt.Println("change", changes.Msg().GetNumber(), changes.Msg().GetKind(), changes.Msg().GetAttack().GetId())
	}
	traffic, err := c.Traffic(ctx, connect.NewRequest(&pluginpb.TrafficRequest{Hosts: 1}))
	if err != nil {
		return err
	}
	if !traffic.Receive() {
		return traffic.Err()
	}
	s := traffic.Msg()
	fmt.Println("snapshot", s.GetNumber(), s.GetHosts()[0].GetHost(), s.GetHostsLeft(), len(s.GetTotals()))
	bans, err := c.Bans(ctx, connect.NewRequest(&pluginpb.BansRequest{}))
	if err != nil {
		return err
	}
	for bans.Receive() {
		var ids []string
		for _, b := range bans.Msg().GetBans() {
			ids = append(ids, b.GetAttackId())
		}
		fmt.Println("bans", bans.Msg().GetNumber(), ids)
	}
	return bans.Err()
}

// talk sends one of each, over each protocol.
func talk(ctx context.Context, _ pluginpbconnect.PluginHostClient) error {
	for _, options := range [][]connect.ClientOption{nil, {connect.WithProtoJSON()}, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
		c := client(options...)
		flows, err := c.SendFlows(ctx, connect.NewRequest(&pluginpb.SendFlowsRequest{Flows: []*pluginpb.Flow{
			{Source: "192.0.2.1", Destination: "198.51.100.1", Packets: 2, Bytes: 100},
			{Source: "nobody", Destination: "198.51.100.1", Packets: 2, Bytes: 100},
			{Source: "192.0.2.3", Destination: "198.51.100.1", Packets: 1, Bytes: 100},
		}}))
		if err != nil {
			return err
		}
		packets, err := c.SendPackets(ctx, connect.NewRequest(&pluginpb.SendPacketsRequest{Packets: []*pluginpb.Packet{
			{}, {Frame: bytes.Repeat([]byte{1}, 60), Length: 1000},
		}}))
		if err != nil {
			return err
		}
		fmt.Println(flows.Msg.GetAccepted(), flows.Msg.GetRefused(), flows.Msg.GetRefusals()[0].GetIndex(), flows.Msg.GetRefusals()[0].GetReason(),
			packets.Msg.GetAccepted(), packets.Msg.GetRefusals()[0].GetReason())
	}
	for _, body := range []string{
		`{"target":"192.0.2.9","direction":"DIRECTION_INCOMING","reason":"odd","metric":"mbps","value":5,"limit":1}`,
		`{"target":"192.0.2.9","direction":"DIRECTION_INCOMING","reason":"odd still"}`,
		`{"target":"192.0.2.10","direction":"DIRECTION_INCOMING","reason":"odd"}`,
		`{"target":"192.0.2.9","direction":"DIRECTION_INCOMING","ended":true}`,
		`{"target":"192.0.2.9","direction":"DIRECTION_INCOMING","ended":true}`,
		`{"target":"203.0.113.1","direction":"DIRECTION_INCOMING","reason":"odd"}`,
	} {
		status, text, err := post("Detect", body)
		if err != nil {
			return err
		}
		fmt.Println(status, strings.Contains(text, "repeatBefore"), strings.Contains(text, "not ours"))
	}
	fmt.Println("done")
	return hang(os.Stdin)
}
