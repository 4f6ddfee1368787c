package clickhouse_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/tests/need"
)

const (
	user     = "weir"
	password = "se&cret'1"
)

// The server's own time zone is far from UTC: no time may depend on it.
const configuration = `<?xml version="1.0"?>
<yandex>
	<logger><level>warning</level><console>1</console></logger>
	<listen_host>127.0.0.1</listen_host>
	<http_port>%[2]s</http_port>
	<https_port>%[3]s</https_port>
	<openSSL><server>
		<certificateFile>%[1]s/cert.pem</certificateFile><privateKeyFile>%[1]s/key.pem</privateKeyFile><verificationMode>none</verificationMode>
	</server></openSSL>
	<path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path>
	<users_config>%[1]s/users.xml</users_config>
	<default_profile>default</default_profile><default_database>default</default_database>
	<mark_cache_size>5368709</mark_cache_size>
	<timezone>Asia/Tokyo</timezone>
</yandex>
`

const users = `<?xml version="1.0"?>
<yandex>
	<profiles><default/><readonly><readonly>1</readonly></readonly></profiles>
	<users>
		<weir><password>se&amp;cret'1</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></weir>
		<reader><password>read</password><networks><ip>127.0.0.1</ip></networks><profile>readonly</profile><quota>default</quota></reader>
	</users>
	<quotas><default/></quotas>
</yandex>
`

// server is Debian's, with its own folder and ports.
type server struct {
	folder          string
	address, secure string
	trusted         *x509.CertPool
	cmd             *exec.Cmd
	log             *bytes.Buffer
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// free returns a port of this machine that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}

// startServer runs a server that ends with the test.
func startServer(t testing.TB) *server {
	t.Helper()
	s := &server{folder: t.TempDir(), trusted: x509.NewCertPool()}
	plain, secure := free(t), free(t)
	s.address, s.secure = net.JoinHostPort("127.0.0.1", plain), net.JoinHostPort("127.0.0.1", secure)
	for _, name := range []string{"data", "tmp"} {
		must(t, os.Mkdir(filepath.Join(s.folder, name), 0o700))
	}
	s.certify(t)
	must(t, os.WriteFile(filepath.Join(s.folder, "config.xml"), fmt.Appendf(nil, configuration, s.folder, plain, secure), 0o600))
	must(t, os.WriteFile(filepath.Join(s.folder, "users.xml"), []byte(users), 0o600))
	s.start(t)
	t.Cleanup(func() {
		s.stop(t)
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log.String())
		}
	})
	return s
}

// start runs the server and waits until it answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	s.cmd, s.log = exec.Command(need.Tool(t, "clickhouse-server", "clickhouse-server"), "--config-file="+filepath.Join(s.folder, "config.xml")), new(bytes.Buffer)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	must(t, s.cmd.Start())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := s.query(ctx, "SELECT 1")
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.stop(t)
			t.Fatalf("the server does not answer: %v\n%s", err, s.log.String())
		}
	}
}

// stop ends the server at once, as a crash would.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = s.cmd.Wait() // it was told to end
}

// query asks the server without the package under test.
func (s *server) query(ctx context.Context, statement string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.address+"/", strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-ClickHouse-User", user)
	req.Header.Set("X-ClickHouse-Key", password)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return string(text), err
}

// rows are those of a query's result.
func (s *server) rows(t testing.TB, statement string) []string {
	t.Helper()
	text, err := s.query(t.Context(), statement)
	must(t, err)
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// certify makes the server's certificate.
func (s *server) certify(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(t, os.WriteFile(filepath.Join(s.folder, "cert.pem"), certificate, 0o600))
	must(t, os.WriteFile(filepath.Join(s.folder, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if !s.trusted.AppendCertsFromPEM(certificate) {
		t.Fatal("the certificate cannot be used")
	}
}

func (s *server) trust() *tls.Config { return &tls.Config{RootCAs: s.trusted} }
