package influxdb_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/userspace/export/influxdb"
	"weir/userspace/traffic"
)

func TestNewRefuses(t *testing.T) {
	const secret = "s3cret"
	for name, tt := range map[string]struct {
		options influxdb.Options
		want    string
	}{
		"version":          {influxdb.Options{Version: "4"}, `use influxdb version "4": unknown; expected one of 1, 2, 3, udp`},
		"hosts":            {influxdb.Options{Hosts: "some"}, `write hosts "some" to influxdb: unknown; expected one of all, ipv4, none`},
		"lines":            {influxdb.Options{MostLines: -1}, "write -1 lines or 4194304 bytes to influxdb at once: out of range"},
		"datagram":         {influxdb.Options{Version: influxdb.UDP, MostBytes: 65508}, "(65507 at most by udp)"},
		"tag":              {influxdb.Options{Tags: map[string]string{"host": "x"}}, `add tag "host" to points for influxdb: taken by Weir's own`},
		"empty tag":        {influxdb.Options{Tags: map[string]string{"": "x"}}, `add tag "" to points`},
		"udp address":      {influxdb.Options{Version: influxdb.UDP, Address: "127.0.0.1"}, `use influxdb address "127.0.0.1" by udp: not an address; write it as host:port`},
		"udp and user":     {influxdb.Options{Version: influxdb.UDP, User: "u"}, "use influxdb udp: an option is set that belongs to another version"},
		"scheme":           {influxdb.Options{Address: "localhost:8086"}, `not http or https with a host; write it as http://host:8086`},
		"port":             {influxdb.Options{Address: "http://h:99999"}, `not http or https with a host`},
		"not a URL":        {influxdb.Options{Address: "http://u:" + secret + "%@h"}, "use influxdb address: not a URL"},
		"password in URL":  {influxdb.Options{Address: "http://u:" + secret + "@h"}, "use influxdb address on h: it holds a user or a password"},
		"query in URL":     {influxdb.Options{Address: "http://h/?p=" + secret}, "use influxdb address on h: it holds more than a path"},
		"newline":          {influxdb.Options{Version: influxdb.V3, Token: secret + "\n"}, "the token has control characters; is there a newline at its end?"},
		"colon":            {influxdb.Options{User: "a:b"}, "a user's name has no colon"},
		"certificate":      {influxdb.Options{CertFile: "c"}, "a certificate needs its key"},
		"short keep":       {influxdb.Options{Create: true, Keep: time.Minute}, "points cannot be kept for 1m0s"},
		"keep, no create":  {influxdb.Options{Keep: time.Hour}, "points cannot be kept for 1h0m0s"},
		"1 and token":      {influxdb.Options{Token: secret}, "use influxdb version 1: an option is set"},
		"2 without bucket": {influxdb.Options{Version: influxdb.V2, Org: "o"}, "no organisation or no bucket; name both"},
		"2 and user":       {influxdb.Options{Version: influxdb.V2, Org: "o", Bucket: "b", User: "u"}, "use influxdb version 2: an option is set"},
		"3 and bucket":     {influxdb.Options{Version: influxdb.V3, Bucket: "b"}, "use influxdb version 3: an option is set"},
		"3 and create":     {influxdb.Options{Version: influxdb.V3, Create: true}, "only version 1 is asked for that"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := influxdb.New(tt.options)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("New: %v; want %q, and no secret", err, tt.want)
			}
		})
	}
}

// certificate writes one for 127.0.0.1 that signs itself, for server and client, and its key.
func certificate(t *testing.T) (certFile, keyFile string, pair tls.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, pair
}

func TestTLS(t *testing.T) {
	certFile, keyFile, pair := certificate(t)
	ours := x509.NewCertPool()
	ours.AddCert(pair.Leaf)
	secure := func(who tls.ClientAuthType) string {
		s := &server{answer: stored}
		s.Server = httptest.NewUnstartedServer(s)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: who, ClientCAs: ours}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	anyone, known := secure(tls.NoClientCert), secure(tls.RequireAndVerifyClientCert)
	for name, tt := range map[string]struct {
		options influxdb.Options
		want    string // empty: no error
	}{
		"unknown signer":      {influxdb.Options{Address: anyone}, "name the file with who signed the certificate"},
		"known signer":        {influxdb.Options{Address: anyone, CAFile: certFile}, ""},
		"not checked":         {influxdb.Options{Address: anyone, Insecure: true}, ""},
		"no file":             {influxdb.Options{Address: anyone, CAFile: certFile + "x"}, "read certificates of signers: open "},
		"no certificate":      {influxdb.Options{Address: anyone, CAFile: keyFile}, "holds none in PEM"},
		"not our key":         {influxdb.Options{Address: anyone, CertFile: certFile, KeyFile: certFile}, "read our certificate: "},
		"we show nothing":     {influxdb.Options{Address: known, CAFile: certFile}, "write traffic to influxdb at "}, // the server may close before it says why
		"we show who we are":  {influxdb.Options{Address: known, CAFile: certFile, CertFile: certFile, KeyFile: keyFile}, ""},
		"TLS where none is":   {influxdb.Options{Address: "https" + strings.TrimPrefix(serve(t, stored).URL, "http")}, "write the address with http://"},
		"not below this path": {influxdb.Options{Address: anyone + "/proxied", Insecure: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := open(t, tt.options).Push(limited(t), &traffic.Snapshot{Time: at()})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Push: %v; want %q", err, tt.want)
			}
		})
	}
}

// TestProxyOnlyWhenAsked runs itself as a process of its own: the environment's proxies are read once in a process's life.
func TestProxyOnlyWhenAsked(t *testing.T) {
	const child = "TEST_INFLUXDB_ADDRESS"
	if address := os.Getenv(child); address != "" {
		for _, asked := range []bool{false, true, true} {
			if err := open(t, influxdb.Options{Address: address, Proxy: asked}).Push(limited(t), example()); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	proxy, direct := serve(t, stored), serve(t, stored)
	// No proxy is asked about a loopback address; this one reaches ourselves as well.
	address := strings.Replace(direct.URL, "127.0.0.1", "0.0.0.0", 1)
	command := exec.CommandContext(limited(t), os.Args[0], "-test.run=^TestProxyOnlyWhenAsked$")
	command.Env = append(os.Environ(), child+"="+address, "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if p, d := len(proxy.took()), len(direct.took()); p != 2 || d != 1 {
		t.Errorf("%d requests came through the proxy and %d directly; want 2 and 1", p, d)
	}
}

func TestZerosAfterAFailedPush(t *testing.T) {
	s := serve(t, stored)
	for _, none := range []bool{false, true} {
		sink := open(t, influxdb.Options{Address: s.URL, NoFinalZero: none})
		if err := sink.Push(limited(t), example()); err != nil {
			t.Fatal(err)
		}
		s.CloseClientConnections()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		isPermanent(t, sink.Push(ended, &traffic.Snapshot{Time: at()}), false, "context canceled")
		s.took()
		for i, want := range []bool{!none, false} {
			if err := sink.Push(limited(t), &traffic.Snapshot{Time: at()}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(s.took()[0].Body, "hosts_traffic,host=192.0.2.1 packets_incoming=0,"); got != want {
				t.Errorf("NoFinalZero %t, push %d: zero written %t; want %t", none, i, got, want)
			}
		}
	}
}
