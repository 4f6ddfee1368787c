package gobgpd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"weir/bgp/gobgpd/gobgppb"
	"weir/tests/routers"
	"weir/userspace/traffic"
)

// run opens a Client and runs it until the test ends or stop is called, which waits for it.
func run(t *testing.T, options Options) (c *Client, stop func()) {
	t.Helper()
	options.Retry = 50 * time.Millisecond
	c, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx); close(done) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return c, stop
}

func waitFor(t *testing.T, c *Client, what string, done func(State) bool) {
	t.Helper()
	routers.Until(t, what, func() (bool, string) { s := c.State(); return done(s), fmt.Sprintf("%+v", s) })
}

// fake is a gobgpd that can misbehave.
type fake struct {
	address string
	service string // by whose name it answers

	mu      sync.Mutex
	as      uint32
	table   map[string]bool // by NLRI
	calls   []string        // AddPath and DeletePath, with their NLRI
	refuses func(nlri string) error
	hang    chan struct{} // AddPath waits for it to be closed, nil: does not
}

func startFake(t *testing.T, service string, options ...grpc.ServerOption) *fake {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{address: listener.Addr().String(), service: service, as: 65001, table: map[string]bool{}, refuses: func(string) error { return nil }}
	server := grpc.NewServer(append(options, grpc.UnknownServiceHandler(f.handle))...)
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fake) handle(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	method, ours := strings.CutPrefix(name, "/"+f.service+"/")
	if !ours {
		return status.Error(codes.Unimplemented, "unknown service")
	}
	switch method {
	case "GetBgp":
		return f.answer(stream, &gobgppb.Empty{}, func() (proto.Message, error) {
			return &gobgppb.GetBgpResponse{Global: &gobgppb.Global{Asn: f.as, RouterId: "192.0.2.1"}}, nil
		})
	case "AddPath":
		if f.hang != nil {
			<-f.hang
		}
		request := new(gobgppb.AddPathRequest)
		return f.answer(stream, request, func() (proto.Message, error) {
			nlri := fmt.Sprintf("%x", request.GetPath().GetNlriBinary())
			f.calls = append(f.calls, "add "+nlri)
			if err := f.refuses(nlri); err != nil {
				return nil, err
			}
			f.table[nlri] = true
			return &gobgppb.Empty{}, nil
		})
	case "DeletePath":
		request := new(gobgppb.DeletePathRequest)
		return f.answer(stream, request, func() (proto.Message, error) {
			nlri := fmt.Sprintf("%x", request.GetPath().GetNlriBinary())
			f.calls = append(f.calls, "delete "+nlri)
			delete(f.table, nlri)
			return &gobgppb.Empty{}, nil
		})
	case "ListPeer", "ListPath":
		return stream.RecvMsg(&gobgppb.Empty{})
	}
	return status.Error(codes.Unimplemented, "unknown method")
}

func (f *fake) answer(stream grpc.ServerStream, request proto.Message, do func() (proto.Message, error)) error {
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	response, err := do()
	if err != nil {
		return err
	}
	return stream.SendMsg(response)
}

func (f *fake) said() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

const (
	service3 = "apipb.GobgpApi"
	host7    = "20cb007107" // 203.0.113.7/32 as NLRI
	host8    = "20cb007108"
)

func TestRefusedByGoBGP(t *testing.T) {
	f := startFake(t, service3)
	f.refuses = func(nlri string) error {
		if nlri == host7 {
			return errors.New("not this one")
		}
		return nil
	}
	c, _ := run(t, Options{Address: f.address})
	seven, eight := blackhole("203.0.113.7/32", "192.0.2.1"), blackhole("203.0.113.8/32", "192.0.2.1")
	c.Apply([]traffic.Announcement{seven, eight, with(eight, func(a *traffic.Announcement) { a.NextHop = netip.Addr{} })})
	waitFor(t, c, "the answers", func(s State) bool { return s.Announced == 1 && len(s.Refused) == 2 })
	s := c.State()
	want := []Refused{
		{eight.Key(), "203.0.113.8/32 needs a next hop of its own family, and has invalid IP"},
		{seven.Key(), "GoBGP says: not this one"},
	}
	if diff := cmp.Diff(s.Refused, want); diff != "" || !s.Connected || s.Connections != 1 || s.Pending != 1 {
		t.Errorf("%+v (-got +want)\n%s", s, diff)
	}
}

// One gobgpd after the other does not do as it should; what is wrong is said, and Apply waits for none.
func TestNotConnected(t *testing.T) {
	for _, tt := range []struct {
		name    string
		service string
		as      uint32
		want    string
	}{
		{"another API", "another.Api", 65001, "unknown service"},
		{"BGP not started", service3, 0, "BGP has not been started there"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, tt.service)
			f.as = tt.as
			c, _ := run(t, Options{Address: f.address})
			c.Apply([]traffic.Announcement{blackhole("203.0.113.7/32", "192.0.2.1")})
			waitFor(t, c, "the error", func(s State) bool {
				return strings.Contains(s.Error, tt.want) && strings.Contains(s.Error, f.address) && !s.Connected && s.Pending == 1
			})
			if calls := f.said(); len(calls) > 0 {
				t.Errorf("calls %v, want none", calls)
			}
		})
	}
}

// A gobgpd that does not answer holds up nothing but its own requests.
func TestHang(t *testing.T) {
	f := startFake(t, service3)
	f.hang = make(chan struct{})
	release := sync.OnceFunc(func() { close(f.hang) })
	t.Cleanup(release)
	c, _ := run(t, Options{Address: f.address})
	waitFor(t, c, "the connection", func(s State) bool { return s.Connected })
	for i := range 1000 {
		c.Apply([]traffic.Announcement{blackhole(fmt.Sprintf("203.0.%d.%d/32", i/256, i%256), "192.0.2.1")})
	}
	if s := c.State(); s.Announced != 0 || s.Pending == 0 {
		t.Errorf("got %+v, want nothing announced and something pending", s)
	}
	release()
	waitFor(t, c, "everything done", func(s State) bool { return s.Pending == 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(f.table, map[string]bool{"20cb0003e7": true}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestAdopt(t *testing.T) {
	f := startFake(t, "api.GoBgpService")
	c, _ := run(t, Options{Address: f.address})
	seven, eight := blackhole("203.0.113.7/32", "192.0.2.1"), blackhole("203.0.113.8/32", "192.0.2.1")
	c.Adopt([]traffic.Announcement{seven, eight})
	waitFor(t, c, "the connection", func(s State) bool { return s.Connected && s.API == 4 })
	if calls := f.said(); len(calls) > 0 {
		t.Fatalf("calls %v before anything was wanted, want none", calls)
	}
	c.Apply([]traffic.Announcement{eight})
	waitFor(t, c, "everything done", func(s State) bool { return s.Pending == 0 })
	if diff := cmp.Diff(f.said(), []string{"add " + host8, "delete " + host7}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func TestStop(t *testing.T) {
	for _, tt := range []struct {
		name     string
		withdraw bool
		want     []string
	}{
		{"withdraw", true, []string{"add " + host7, "delete " + host7}},
		{"keep", false, []string{"add " + host7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFake(t, service3)
			c, stop := run(t, Options{Address: f.address, WithdrawAtStop: tt.withdraw})
			c.Apply([]traffic.Announcement{blackhole("203.0.113.7/32", "192.0.2.1")})
			waitFor(t, c, "everything done", func(s State) bool { return s.Pending == 0 && s.Announced == 1 })
			stop()
			if diff := cmp.Diff(f.said(), tt.want); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	f := startFake(t, service3, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})))
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	c, _ := run(t, Options{Address: f.address, TLS: &tls.Config{RootCAs: roots}})
	waitFor(t, c, "the connection", func(s State) bool { return s.Connected })
	stranger, _ := run(t, Options{Address: f.address, TLS: &tls.Config{RootCAs: x509.NewCertPool()}})
	waitFor(t, stranger, "the refusal of an unknown certificate", func(s State) bool { return strings.Contains(s.Error, "unknown authority") })
}
