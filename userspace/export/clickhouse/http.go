package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"weir/userspace/traffic"
)

const (
	mostAnswer = 1 << 20 // bytes of a result that is read
	mostError  = 200     // bytes of the server's words in an error
	// A connection that waits for longer is not used again: servers close theirs after 3 seconds or more, and a request that meets that
	// cannot be sent again by the HTTP client, which does not know whether it was taken.
	idle = 2 * time.Second
)

func newClient(o *Options) *http.Client {
	t := &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: idle, MaxResponseHeaderBytes: 64 << 10,
		DisableCompression: true, // answers are small
	}
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	}
	return &http.Client{
		Transport: t,
		// A redirect would take rows and password elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// refusal is an error that the server answered with.
type refusal struct {
	status int    // of HTTP
	code   int    // of ClickHouse (src/Common/ErrorCodes.cpp); 0: none was said
	text   string // what it said, cut
}

// Error is what the server said, with the remedy where there is one.
func (r *refusal) Error() string {
	text := r.text
	if text == "" {
		text = http.StatusText(r.status)
	}
	return fmt.Sprintf("the server answers %d: %s%s", r.status, text, r.remedy())
}

func (r *refusal) remedy() string {
	switch r.code {
	case 192, 193, 194, 195, 516: // unknown user, wrong password, password or address required
		return "; check username and password, and from where the user may come"
	case 164, 497: // read-only, access denied
		return "; grant the user INSERT, CREATE, ALTER and SELECT in the database, or create its tables and set NoCreate"
	case 60, 81: // unknown table, unknown database
		return "; create it, or let Weir do so"
	case 16, 47, 53, 70: // unknown column, type mismatch
		return "; the table has other columns than Weir writes: rename it, or use another database"
	case 252: // too many parts
		return "; the server merges more slowly than it is written to: push less often"
	case 359: // the partition is too large
		return "; raise max_partition_size_to_drop, or drop it by hand"
	}
	switch {
	case r.code != 0:
	case r.status == http.StatusUnauthorized, r.status == http.StatusForbidden:
		return "; check username and password"
	case r.status == http.StatusRequestEntityTooLarge:
		return "; let what stands in front of the server pass requests of 16 MB"
	}
	return ""
}

// permanent reports whether the same rows would be refused again.
func (r *refusal) permanent() bool {
	switch r.code {
	case 6, 26, 27, 32, 33, 38, 41, 72, 117, 130, 131, 321, 469: // cannot be parsed, is incorrect, too large or out of range, violates a constraint
		return true
	case 16, 43, 44, 47, 53, 70, 349: // does not fit the table's columns
		return true
	}
	return false
}

// ask sends a statement and returns the rows of its result.
func (s *Sink) ask(ctx context.Context, statement string) ([]string, error) {
	text, err := s.post(ctx, "", strings.NewReader(statement), false)
	if err != nil {
		return nil, err
	}
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}

// do sends a statement that has no result.
func (s *Sink) do(ctx context.Context, statement string) error {
	rows, err := s.ask(ctx, statement)
	if err == nil && len(rows) > 0 {
		err = s.strange(strings.Join(rows, " "))
	}
	return err
}

// insert sends rows in RowBinary.
func (s *Sink) insert(ctx context.Context, statement string, rows []byte) error {
	if s.options.Gzip {
		s.packed.Reset()
		s.packer.Reset(&s.packed)
		if _, err := s.packer.Write(rows); err != nil {
			return fmt.Errorf("compress rows: %w", err)
		}
		if err := s.packer.Close(); err != nil {
			return fmt.Errorf("compress rows: %w", err)
		}
		rows = s.packed.Bytes()
	}
	text, err := s.post(ctx, statement, bytes.NewReader(rows), s.options.Gzip)
	var r *refusal
	switch {
	case errors.As(err, &r) && r.permanent():
		return fmt.Errorf("%w: %w", traffic.ErrPermanent, err)
	case err == nil && text != "":
		return s.strange(text)
	}
	return err
}

// strange is the error for an answer where none belongs.
func (s *Sink) strange(text string) error {
	return fmt.Errorf("unexpected answer %q; see whether ClickHouse's HTTP interface listens there", s.excerpt(text))
}

// post sends a request and returns what is answered. The body is the statement where query is empty.
func (s *Sink) post(ctx context.Context, query string, body io.Reader, packed bool) (string, error) {
	target := s.url
	if query != "" {
		target += "?query=" + url.QueryEscape(query)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return "", err
	}
	req.GetBody = nil // what may have been taken is not sent again
	req.Header.Set("User-Agent", "weir")
	req.Header.Set("Content-Type", "application/octet-stream")
	if s.options.Username != "" {
		req.Header.Set("X-ClickHouse-User", s.options.Username)
		req.Header.Set("X-ClickHouse-Key", s.options.Password)
	}
	if packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	answer, err := s.client.Do(req)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) { // it would repeat the whole statement
			err = outer.Err
		}
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	code, _ := strconv.Atoi(answer.Header.Get("X-ClickHouse-Exception-Code")) // older servers say it in the text alone
	if code == 0 {
		code = codeOf(string(text))
	}
	switch {
	case answer.StatusCode != http.StatusOK, code != 0: // the latter also where the status had been sent before something went wrong
		return "", &refusal{status: answer.StatusCode, code: code, text: s.excerpt(string(text))}
	case err != nil:
		return "", fmt.Errorf("read the answer: %w", err)
	case len(text) == mostAnswer:
		return "", s.strange(string(text))
	}
	return string(text), nil
}

// codeOf finds the number in "Code: 60, e.displayText() = DB::Exception: ..." or "Code: 60. DB::Exception: ...".
func codeOf(text string) int {
	if len(text) > mostAnswer/2 {
		return 0
	}
	_, rest, found := strings.Cut(text, "Code: ")
	if !found || !strings.Contains(rest, "DB::Exception") {
		return 0
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsDigit(r) })
	code, err := strconv.Atoi(rest[:max(end, 0)])
	if err != nil {
		return 0
	}
	return code
}

// excerpt is the server's text as it can stand in an error: one line, cut, and never with the password that some proxy may repeat.
func (s *Sink) excerpt(text string) string {
	if s.options.Password != "" {
		text = strings.ReplaceAll(text, s.options.Password, "***")
	}
	text, _, _ = strings.Cut(text, ", e.what() = ")
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)), " ")
	if len(text) > mostError {
		text = strings.ToValidUTF8(text[:mostError], "") + " ..."
	}
	return text
}
