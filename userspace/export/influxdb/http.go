package influxdb

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// client writes by HTTP. What it says of failures never holds a secret.
type client struct {
	options Options
	base    string       // of all addresses, without a slash at its end
	secrets []string     // not to be repeated, as the server may do
	http    *http.Client // nil: the next request makes one, and reads the files of the options anew

	zipped bytes.Buffer
	zip    *gzip.Writer
}

func newClient(o Options) *client {
	c := &client{options: o, base: strings.TrimSuffix(o.Address, "/")}
	pair := base64.StdEncoding.EncodeToString([]byte(o.User + ":" + o.Password))
	for _, secret := range []string{o.Token, o.Password, url.QueryEscape(o.Password), pair} {
		if secret != "" && (secret != pair || o.Password != "") {
			c.secrets = append(c.secrets, secret)
		}
	}
	return c
}

// send writes lines. Where the database is missing, and we are to, it is created.
func (c *client) send(ctx context.Context, lines []byte) error {
	err := c.write(ctx, lines)
	if errors.Is(err, errNoDatabase) && c.options.Create {
		if err := c.create(ctx); err != nil {
			return err
		}
		err = c.write(ctx, lines)
	}
	return err
}

// target is where lines are written to: of InfluxDB 1 https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint,
// of 2 https://docs.influxdata.com/influxdb/v2/api/v2/#operation/PostWrite, of 3 https://docs.influxdata.com/influxdb3/core/api/.
func (c *client) target() string {
	o := &c.options
	switch o.Version {
	case V2:
		return c.base + "/api/v2/write?" + url.Values{"org": {o.Org}, "bucket": {o.Bucket}, "precision": {"ns"}}.Encode()
	case V3:
		return c.base + "/api/v3/write_lp?" + url.Values{"db": {o.Database}, "precision": {"nanosecond"}}.Encode()
	}
	values := url.Values{"db": {o.Database}, "precision": {"ns"}}
	if o.RetentionPolicy != "" {
		values.Set("rp", o.RetentionPolicy)
	}
	return c.base + "/write?" + values.Encode()
}

func (c *client) write(ctx context.Context, lines []byte) error {
	encoding := ""
	if c.options.Gzip {
		var err error
		if lines, err = c.compress(lines); err != nil {
			return fmt.Errorf("compress request: %w", err)
		}
		encoding = "gzip"
	}
	answer, err := c.post(ctx, c.target(), "text/plain; charset=utf-8", encoding, lines)
	if err != nil {
		return err
	}
	return c.judge(answer)
}

func (c *client) compress(lines []byte) ([]byte, error) {
	c.zipped.Reset()
	if c.zip == nil {
		var err error
		if c.zip, err = gzip.NewWriterLevel(&c.zipped, gzip.BestSpeed); err != nil {
			return nil, err
		}
	} else {
		c.zip.Reset(&c.zipped)
	}
	if _, err := c.zip.Write(lines); err != nil {
		return nil, err
	}
	if err := c.zip.Close(); err != nil {
		return nil, err
	}
	return c.zipped.Bytes(), nil
}

// create asks InfluxDB 1 for the database.
func (c *client) create(ctx context.Context) error {
	o := &c.options
	query := "CREATE DATABASE " + quoted(o.Database)
	if o.Keep > 0 || o.RetentionPolicy != "" {
		query += " WITH DURATION INF"
		if o.Keep > 0 {
			query = strings.TrimSuffix(query, "INF") + fmt.Sprintf("%.0fs", o.Keep.Seconds())
		}
		if o.RetentionPolicy != "" {
			query += " NAME " + quoted(o.RetentionPolicy)
		}
	}
	body := url.Values{"q": {query}}.Encode()
	answer, err := c.post(ctx, c.base+"/query", "application/x-www-form-urlencoded", "", []byte(body))
	if err == nil {
		err = c.judgeQuery(answer)
	}
	if err != nil {
		return fmt.Errorf("create database %q: %w; create it by hand, or let the user be an administrator until it exists", o.Database, err)
	}
	return nil
}

// quoted is an identifier of InfluxQL.
func quoted(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// answer is what a server has said, as far as anybody wants to know.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// mostAnswer bounds what is read of one. What goes on for longer costs the connection.
const mostAnswer = 16 << 10

func (c *client) post(ctx context.Context, target, contentType, encoding string, body []byte) (a answer, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.http == nil {
		if c.http, err = c.open(); err != nil {
			return a, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return a, fmt.Errorf("make request: %w", err)
	}
	// A connection that the server has closed while it was idle may be replaced without asking: the same points twice are the same points. Not sent.
	request.Header["Idempotency-Key"] = nil
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("User-Agent", "weir")
	if encoding != "" {
		request.Header.Set("Content-Encoding", encoding)
	}
	switch o := &c.options; {
	case o.Token != "" && o.Version == V3:
		request.Header.Set("Authorization", "Bearer "+o.Token)
	case o.Token != "":
		request.Header.Set("Authorization", "Token "+o.Token)
	case o.User != "" || o.Password != "":
		// Not as u= and p= in the address, which servers and proxies write to their logs.
		request.SetBasicAuth(o.User, o.Password)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return a, c.unreachable(ctx, err)
	}
	defer response.Body.Close()
	a = answer{status: response.StatusCode, header: response.Header}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, mostAnswer)); err != nil {
		return a, c.unreachable(ctx, fmt.Errorf("read answer: %w", err))
	}
	return a, nil
}

// unreachable names what kept us from an answer, and what to do about it.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("wait for answer: %w", ctx.Err())
	}
	// The address is named by whoever called.
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verification):
		return fmt.Errorf("%w; name the file with who signed the certificate, if it is one of your own", err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w; write the address with http:// if the server has no TLS", err)
	}
	return fmt.Errorf("%w; check that InfluxDB runs and listens there", err)
}

func (c *client) open() (*http.Client, error) {
	o := &c.options
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificates of signers: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read certificates of signers: %s holds none in PEM", o.CAFile)
		}
	}
	if o.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read our certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	transport := &http.Transport{TLSClientConfig: config, DisableCompression: true, MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: mostAnswer}
	if o.Proxy {
		transport.Proxy = http.ProxyFromEnvironment
	}
	// Who is sent elsewhere would take the credentials along.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: transport, CheckRedirect: stay}, nil
}

func (c *client) close() {
	if c.http != nil {
		c.http.CloseIdleConnections()
		c.http = nil
	}
}
