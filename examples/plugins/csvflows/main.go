// Command csvflows is a plug-in for Weir, a source: it reads flow records as lines of text from a file or a named pipe.
//
// Its settings are {"file": "/path"}. A line is SOURCE,DESTINATION,PROTOCOL,SOURCE PORT,DESTINATION PORT,PACKETS,BYTES.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"weir/userspace/plugin/pluginpb"
	"weir/userspace/plugin/pluginpb/pluginpbconnect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		// Standard input is open and silent for as long as Weir lives: whatever ends it, we go too.
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err) // Weir logs it, and starts us again
		os.Exit(1)
	}
}

// source sends flow records to Weir.
type source struct {
	weir  pluginpbconnect.PluginHostClient
	batch int // records in one call, at most
}

func run(ctx context.Context) error {
	path := os.Getenv("WEIR_PLUGIN_SOCKET")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	s := source{weir: pluginpbconnect.NewPluginHostClient(&http.Client{Transport: transport}, "http://weir")}
	hello, err := s.weir.Hello(ctx, connect.NewRequest(&pluginpb.HelloRequest{Version: "csvflows 1.0", Kinds: []pluginpb.Kind{pluginpb.Kind_KIND_SOURCE}}))
	if err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	s.batch = int(min(hello.Msg.GetBatch(), hello.Msg.GetFlows()))
	var settings struct {
		File string `json:"file"`
	}
	if err := json.Unmarshal([]byte(hello.Msg.GetSettings()), &settings); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	file, err := os.Open(settings.File)
	if err != nil {
		return fmt.Errorf("open flow records: %w", err)
	}
	// A read of a pipe does not end with ctx by itself.
	context.AfterFunc(ctx, func() { _ = file.Close() })
	if err := s.read(ctx, file); err != nil {
		return fmt.Errorf("read %s: %w", settings.File, err)
	}
	<-ctx.Done() // to end would be to be started again, and to count everything twice
	return nil
}

// read sends all lines, and those that have come so far when no more are there at the moment.
func (s *source) read(ctx context.Context, file io.Reader) error {
	reader := bufio.NewReaderSize(file, 1<<16)
	var flows []*pluginpb.Flow
	for number := 1; ; number++ {
		line, err := reader.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			flow, parseErr := parse(line)
			if parseErr != nil {
				fmt.Fprintf(os.Stderr, "line %d: %v\n", number, parseErr)
			} else {
				flows = append(flows, flow)
			}
		}
		if len(flows) == s.batch || len(flows) > 0 && (err != nil || reader.Buffered() == 0) {
			if sendErr := s.send(ctx, flows); sendErr != nil {
				return sendErr
			}
			flows = flows[:0]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// send hands over a batch, and waits while it is too much.
func (s *source) send(ctx context.Context, flows []*pluginpb.Flow) error {
	for {
		answer, err := s.weir.SendFlows(ctx, connect.NewRequest(&pluginpb.SendFlowsRequest{Flows: flows}))
		if connect.CodeOf(err) == connect.CodeResourceExhausted {
			select {
			case <-time.After(time.Second):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
		for _, r := range answer.Msg.GetRefusals() {
			fmt.Fprintf(os.Stderr, "refused %s: %s\n", flows[r.GetIndex()], r.GetReason())
		}
		return nil
	}
}

func parse(line string) (*pluginpb.Flow, error) {
	fields := strings.Split(line, ",")
	if len(fields) != 7 {
		return nil, fmt.Errorf("%d fields; expected 7", len(fields))
	}
	var numbers [5]uint64
	for i := range numbers {
		bits := 32
		if i >= 3 { // packets and bytes
			bits = 64
		}
		var err error
		if numbers[i], err = strconv.ParseUint(strings.TrimSpace(fields[2+i]), 10, bits); err != nil {
			return nil, err
		}
	}
	return &pluginpb.Flow{
		Source: strings.TrimSpace(fields[0]), Destination: strings.TrimSpace(fields[1]), Protocol: uint32(numbers[0]),
		SourcePort: uint32(numbers[1]), DestinationPort: uint32(numbers[2]), Packets: numbers[3], Bytes: numbers[4],
	}, nil
}
