package mongodb

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"weir/tests/need"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// free returns an address of this machine that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// ferret is where FerretDB is, which stands in for MongoDB: Debian has no server of its own. It is built in CI alone.
func ferret(t *testing.T) string {
	t.Helper()
	need.Tool(t, "go", "golang-go") // which the script asks for its version
	script := filepath.Join("..", "..", "..", "tools", "ferretdb.sh")
	args := []string{script, "--path"}
	if need.CI() {
		args = args[:1]
	}
	out, err := exec.Command("sh", args...).Output()
	if err != nil {
		need.Missing(t, "build a server for MongoDB's protocol: %v", err)
	}
	path := strings.TrimSpace(string(out))
	if _, err := os.Stat(path); err != nil {
		need.Missing(t, "find a server for MongoDB's protocol: %v; build it by: tools/ferretdb.sh", err)
	}
	return path
}

// server is a FerretDB that is running.
type server struct {
	address, tls string
	authority    *x509.CertPool // of tls
	cmd          *exec.Cmd
	log          *bytes.Buffer
}

// start runs a server; it ends with the test. Its files are in folder.
func start(t *testing.T, folder, address string) *server {
	t.Helper()
	s := &server{address: address, tls: free(t), log: &bytes.Buffer{}}
	certificate, key := s.certify(t)
	s.cmd = exec.Command(ferret(t), folder, s.address, s.tls, certificate, key)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	must(t, s.cmd.Start())
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.stop(t)
		}
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, s.client(t).Ping(ctx, nil))
	return s
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := s.cmd.Wait(); err == nil {
		t.Error("the server ended by itself")
	}
}

// client is the test's own.
func (s *server) client(t *testing.T) *mongo.Client {
	t.Helper()
	c, err := mongo.Connect(options.Client().SetHosts([]string{s.address}).SetDirect(true))
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.Disconnect(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// documents returns what is in a collection.
func (s *server) documents(t *testing.T, database, collection string) (all []bson.M) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	cursor, err := s.client(t).Database(database).Collection(collection).Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	must(t, err)
	must(t, cursor.All(ctx, &all))
	return all
}

// certify makes a certificate for this machine that is its own authority.
func (s *server) certify(t *testing.T) (certificate, key string) {
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
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(t, os.WriteFile(certificate, public, 0o600))
	must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	s.authority = x509.NewCertPool()
	if !s.authority.AppendCertsFromPEM(public) {
		t.Fatal("the certificate cannot be read")
	}
	return certificate, key
}
