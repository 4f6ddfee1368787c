package redis

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"weir/tests/need"
)

// free returns a port of this machine that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// start runs Debian's server and returns its address; it ends with the test. asker is how a test may ask it whether it is there.
func start(t *testing.T, asker redis.UniversalOptions, args ...string) string {
	t.Helper()
	port := free(t)
	return run(t, server(t, port, args...), port, asker)
}

// startAt runs Debian's server on a port.
func startAt(t *testing.T, port string) { run(t, server(t, port), port, redis.UniversalOptions{}) }

func server(t *testing.T, port string, args ...string) *exec.Cmd {
	t.Helper()
	program := need.Tool(t, "redis-server", "redis-server")
	return exec.Command(program, append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no"}, args...)...)
}

// startSentinel runs a sentinel that knows a master of the name "weir".
func startSentinel(t *testing.T, master string) string {
	t.Helper()
	program := need.Tool(t, "redis-server", "redis-server")
	port := free(t)
	_, masterPort, err := net.SplitHostPort(master)
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	write(t, conf, fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor weir 127.0.0.1 %s 1\n", port, masterPort))
	return run(t, exec.Command(program, conf, "--sentinel"), port, redis.UniversalOptions{})
}

func run(t *testing.T, cmd *exec.Cmd, port string, asker redis.UniversalOptions) string {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the server ended by itself")
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", log.String())
		}
	})
	address := net.JoinHostPort("127.0.0.1", port)
	asker.Addrs, asker.MaxRetries = []string{address}, -1
	client := redis.NewUniversalClient(&asker)
	defer client.Close()
	within(t, func() error { return client.Ping(t.Context()).Err() })
	return address
}

// within tries until it succeeds, for ten seconds.
func within(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for err := try(); err != nil; err = try() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

// startCluster runs three nodes that share the slots evenly.
func startCluster(t *testing.T) (nodes []string) {
	t.Helper()
	const slots = 16384
	var buses []string
	for range 3 {
		buses = append(buses, free(t))
		nodes = append(nodes, start(t, redis.UniversalOptions{}, "--cluster-enabled", "yes", "--cluster-port", buses[len(buses)-1]))
	}
	for i, node := range nodes {
		client := redis.NewClient(&redis.Options{Addr: node})
		must(t, client.ClusterAddSlotsRange(t.Context(), i*slots/3, (i+1)*slots/3-1).Err())
		for j, other := range nodes[:i] {
			host, port, err := net.SplitHostPort(other)
			must(t, err)
			must(t, client.Do(t.Context(), "cluster", "meet", host, port, buses[j]).Err())
		}
		must(t, client.Close())
	}
	return nodes
}

// startTLS runs a server that speaks TLS alone, and only to those with a certificate.
func startTLS(t *testing.T, port string, files [2]string, args ...string) string {
	t.Helper()
	cmd := server(t, "0", append([]string{"--tls-port", port, "--tls-cert-file", files[0], "--tls-key-file", files[1], "--tls-ca-cert-file", files[0]}, args...)...)
	certificate, err := tls.LoadX509KeyPair(files[0], files[1])
	must(t, err)
	return run(t, cmd, port, redis.UniversalOptions{TLSConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}}})
}

// certify makes a certificate for this machine, of server and client, that is its own authority.
func certify(t *testing.T) (files [2]string, authority *x509.CertPool, certificate tls.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	dir := t.TempDir()
	files = [2]string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	write(t, files[0], string(public))
	write(t, files[1], string(key))
	authority = x509.NewCertPool()
	authority.AppendCertsFromPEM(public)
	certificate, err = tls.X509KeyPair(public, key)
	must(t, err)
	return files, authority, certificate
}
