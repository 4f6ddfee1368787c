package mail

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/notify/digest"
	"weir/userspace/traffic"
)

var start = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// step is the clock of a test: each Tell is a minute after the one before.
func step() func() time.Time {
	now := start
	return func() time.Time { now = now.Add(time.Minute); return now }
}

func change(kind traffic.ChangeKind, id string, seconds int, pps uint64, capture string) traffic.Change {
	count := traffic.Count{Packets: pps, Bytes: 100 * pps}
	c := traffic.Change{Kind: kind, At: start.Add(time.Duration(seconds) * time.Second), Capture: capture}
	a := &c.Record.Attack
	a.ID, a.Target = id, traffic.Target{Prefix: netip.MustParsePrefix("192.0.2.7/32")}
	a.Started, a.Rate.Incoming.Total, a.Peak.Total = start, count, count
	if kind == traffic.ChangeEnded {
		a.Ended = c.At
	}
	return c
}

func options(s *server) Options {
	return Options{
		Server: s.listener.Addr().String(), TLS: s.trust, User: "weir", Password: "secret", Hello: "probe.example.net",
		From: "Weir <weir@example.net>", To: []string{"noc@example.net", "Zoë <zoe@example.net>"}, Clock: step(),
	}
}

func mustNew(t *testing.T, o Options) *Sink {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tellEnd lets the sink send the one mail of an attack that is over.
func tellEnd(t *testing.T, s *Sink, changes ...traffic.Change) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if len(changes) == 0 {
		changes = []traffic.Change{change(traffic.ChangeEnded, "a", 30, 100, "")}
	}
	if err := s.Tell(ctx, changes); err != nil {
		return err
	}
	return s.Tell(ctx, nil)
}

func TestMailArrives(t *testing.T) {
	for name, c := range map[string]struct {
		server func(*server)
		change func(*Options)
		want   []string
	}{
		"starttls and plain": {nil, func(*Options) {}, []string{"EHLO probe.example.net", "STARTTLS", "*EHLO probe.example.net", "*AUTH PLAIN AHdlaXIAc2VjcmV0"}},
		"tls and login": {func(s *server) { s.implicit = true }, func(o *Options) { o.Security, o.Auth = Implicit, Login },
			[]string{"*EHLO probe.example.net", "*AUTH LOGIN"}},
		"nothing": {func(s *server) { s.tls = nil }, func(o *Options) { o.Security, o.User = None, "" }, []string{"EHLO probe.example.net"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t, c.server)
			o := options(server)
			c.change(&o)
			if err := tellEnd(t, mustNew(t, o)); err != nil {
				t.Fatal(err)
			}
			mails, lines := server.taken()
			if len(mails) != 1 {
				t.Fatalf("%d mails arrived, want 1", len(mails))
			}
			star := ""
			if strings.HasPrefix(lines[len(lines)-1], "*") {
				star = "*"
			}
			want := append(c.want, star+"MAIL FROM:<weir@example.net>", star+"RCPT TO:<noc@example.net>", star+"RCPT TO:<zoe@example.net>", star+"DATA", star+"QUIT")
			if diff := cmp.Diff(want, lines[:len(want)]); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

// part is a leaf of a mail.
type part struct {
	kind, name string
	data       []byte
}

func leaves(t *testing.T, kind, encoding, name string, body io.Reader) []part {
	t.Helper()
	media, params, err := mime.ParseMediaType(kind)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(media, "multipart/") {
		switch encoding {
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return []part{{media, name, data}}
	}
	out := []part{{kind: media}}
	for r := multipart.NewReader(body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, leaves(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p.FileName(), p)...)
	}
}

func TestMailHoldsTextChartAndPackets(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "attack 1.pcap")
	packets := bytes.Repeat([]byte("packets\x00\xff\r\n."), 1000)
	if err := os.WriteFile(capture, packets, 0o600); err != nil {
		t.Fatal(err)
	}
	server := newServer(t, nil)
	o := options(server)
	o.Subject = "[wéir] {{.Title}}\nBcc: evil@example.net"
	s := mustNew(t, o)
	if err := s.Tell(t.Context(), []traffic.Change{change(traffic.ChangeStarted, "a", 0, 100, ""), change(traffic.ChangeBanned, "a", 1, 5000, "")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Tell(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := tellEnd(t, s); err != nil {
		t.Fatal(err)
	}
	if err := tellEnd(t, s, change(traffic.ChangeStarted, "b", 0, 100, capture), change(traffic.ChangeBanned, "b", 1, 5000, capture), change(traffic.ChangeEnded, "b", 99, 5000, capture)); err != nil {
		t.Fatal(err)
	}
	mails, _ := server.taken()
	if len(mails) != 3 {
		t.Fatalf("%d mails arrived, want 3", len(mails))
	}
	m, err := netmail.ReadMessage(strings.NewReader(mails[2]))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if want := "[wéir] Ended: attack on 192.0.2.7, 5 kpps, 4 Mbit/s Bcc: evil@example.net"; err != nil || subject != want {
		t.Errorf("subject is %q (%v), want %q", subject, err, want)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 2 || to[1].Name != "Zoë" || m.Header.Get("Bcc") != "" {
		t.Errorf("to is %v (%v), bcc %q", to, err, m.Header.Get("Bcc"))
	}
	parts := leaves(t, m.Header.Get("Content-Type"), "", "", m.Body)
	var kinds []string
	for _, p := range parts {
		kinds = append(kinds, p.kind+" "+p.name)
	}
	if diff := cmp.Diff([]string{"multipart/mixed ", "multipart/related ", "multipart/alternative ", "text/plain ", "text/html ",
		"image/png chart.png", "application/vnd.tcpdump.pcap attack 1.pcap"}, kinds); diff != "" {
		t.Fatalf("parts (-want +got):\n%s", diff)
	}
	if text := string(parts[3].data); !strings.Contains(text, "Target:    192.0.2.7 (incoming)\r\n") && !strings.Contains(text, "Target:    192.0.2.7 (incoming)\n") {
		t.Errorf("text is %q", text)
	}
	if page := string(parts[4].data); !strings.Contains(page, "by hand") || !strings.Contains(page, `src="cid:chart@weir"`) {
		t.Errorf("page is %q", page)
	}
	picture, err := png.Decode(bytes.NewReader(parts[5].data))
	if err != nil || picture.Bounds().Dx() != 640 || picture.Bounds().Dy() != 240 || len(parts[5].data) > 10_000 {
		t.Errorf("chart of %d bytes: %v", len(parts[5].data), err)
	}
	if !bytes.Equal(parts[6].data, packets) {
		t.Errorf("%d bytes of packets arrived, want %d", len(parts[6].data), len(packets))
	}
}

func TestLargeCaptureIsNamedOnly(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "attack.pcap")
	if err := os.WriteFile(capture, make([]byte, 101), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{capture: "larger than 100 bytes and not attached: " + capture, capture + "x": "cannot be attached: ", t.TempDir(): "is no plain file"} {
		server := newServer(t, nil)
		o := options(server)
		o.MaxCapture = 100
		if err := tellEnd(t, mustNew(t, o), change(traffic.ChangeEnded, "a", 30, 100, path)); err != nil {
			t.Fatal(err)
		}
		mails, _ := server.taken()
		text := strings.ReplaceAll(mails[0], "=\r\n", "")
		if strings.Contains(text, "Content-Disposition: attachment") || !strings.Contains(text, want) {
			t.Errorf("mail with %s has no %q:\n%s", path, want, text)
		}
	}
}

func TestBadServers(t *testing.T) {
	for name, c := range map[string]struct {
		replies   map[string]string
		server    func(*server)
		want      string
		permanent bool
		mails     int
	}{
		"hangs at first":     {replies: map[string]string{"GREETING": "hang"}, want: "deadline exceeded"},
		"hangs in the mail":  {replies: map[string]string{"END": "hang"}, want: "deadline exceeded"},
		"closes":             {replies: map[string]string{"MAIL": "close"}, want: "use sender weir@example.net: EOF"},
		"closes in the mail": {replies: map[string]string{"END": "close"}, want: "hand over the mail: EOF"},
		"garbage":            {replies: map[string]string{"GREETING": "\x16\x03\x01 what"}, want: "greet: "},
		"babbles":            {replies: map[string]string{"EHLO": "babble"}, want: "says more than any mail server"},
		"no STARTTLS":        {server: func(s *server) { s.tls = nil }, want: "offers no STARTTLS; use tls"},
		"unknown authority":  {server: func(s *server) { s.trust = nil }, want: "certificate signed by unknown authority"},
		"other password":     {replies: map[string]string{"AUTH": "535 5.7.8 no"}, want: "log in as weir: 535 \"5.7.8 no\"; check user and password"},
		"busy":               {replies: map[string]string{"MAIL": "451 4.3.0 later"}, want: "451 \"4.3.0 later\""},
		"refuses the sender": {replies: map[string]string{"MAIL": "553 5.1.8 no"}, want: "use sender weir@example.net: 553 \"5.1.8 no\"", permanent: true},
		"refuses the mail":   {replies: map[string]string{"END": "554 5.7.1 spam"}, want: "hand over the mail: 554 \"5.7.1 spam\"", permanent: true},
		"refuses one":        {server: func(s *server) { s.refuse = "zoe@" }, want: "use recipient zoe@example.net: 550", permanent: true, mails: 1},
		"refuses all":        {server: func(s *server) { s.refuse = "@" }, want: "use recipient noc@example.net: 550", permanent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t, func(s *server) {
				s.replies = c.replies
				if c.server != nil {
					c.server(s)
				}
			})
			s := mustNew(t, options(server))
			if err := s.Tell(t.Context(), []traffic.Change{change(traffic.ChangeEnded, "a", 30, 100, "")}); err != nil {
				t.Fatal(err)
			}
			timeout := 10 * time.Second
			if strings.Contains(c.want, "deadline") {
				timeout = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			err := s.Tell(ctx, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("Tell gives %v, want %q in it", err, c.want)
			}
			if errors.Is(err, traffic.ErrPermanent) != c.permanent {
				t.Errorf("%v: permanent is %v, want %v", err, !c.permanent, c.permanent)
			}
			if mails, _ := server.taken(); len(mails) != c.mails {
				t.Errorf("%d mails arrived, want %d", len(mails), c.mails)
			}
		})
	}
}

func TestMailIsSentAgain(t *testing.T) {
	server := newServer(t, func(s *server) { s.replies = map[string]string{"MAIL": "451 later"} })
	s := mustNew(t, options(server))
	if err := tellEnd(t, s); err == nil {
		t.Fatal("a busy server is no error")
	}
	server.mu.Lock()
	server.replies = nil
	server.mu.Unlock()
	if err := s.Tell(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if mails, _ := server.taken(); len(mails) != 1 || !s.Due().IsZero() {
		t.Errorf("%d mails arrived, want 1; due %s", len(mails), s.Due())
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Server: "mail.example.net", From: "weir@example.net", To: []string{"noc@example.net"}}
	if s := mustNew(t, good); s.options.Server != "mail.example.net:587" || s.Close() != nil {
		t.Errorf("server is %s", s.options.Server)
	}
	for want, change := range map[string]func(*Options){
		"it is not a host with a port":                         func(o *Options) { o.Server = "mail.example.net:99999" },
		"everybody could read the password":                    func(o *Options) { o.Security, o.User = None, "weir" },
		"use mail address \"nobody\": it is none":              func(o *Options) { o.To = []string{"nobody"} },
		"use mail address \"\": it is none":                    func(o *Options) { o.From = "" },
		"to nobody":                                            func(o *Options) { o.To = nil },
		"use mail subject: use template: line 1, column 9: at": func(o *Options) { o.Subject = "{{upper 5}}" },
		`use mail text: use template: line 2, column`:          func(o *Options) { o.Text = "\n{{.Nothing}}" },
		"line end":           func(o *Options) { o.Password = "a\r\nQUIT" },
		"it is no host name": func(o *Options) { o.Hello = "a\r\nQUIT" },
		"use digest wait":    func(o *Options) { o.Digest.Wait = -1 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New gives %v, want %q in it", err, want)
		}
	}
}

func TestChart(t *testing.T) {
	one := digest.Sample{Time: start, Packets: 1, Bytes: 1 << 63}
	for name, rates := range map[string][]digest.Sample{"none": nil, "one": {one}, "no time between": {one, one}} {
		if b, err := Chart("x", rates); b != nil || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	// A rate that rises for ever has its curve low at the left and high at the right; nothing is out of the picture's bounds, whatever the values.
	for _, top := range []uint64{0, 1, 125_000_000, 1 << 63} {
		var rates []digest.Sample
		for i := range uint64(100) {
			rates = append(rates, digest.Sample{Time: start.Add(time.Duration(i) * time.Second), Bytes: top / 100 * (i + 1)})
		}
		b, err := Chart(strings.Repeat("long title ", 20), rates)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		highest := func(x int) int {
			for y := range chartHeight {
				if img.At(x, y) == palette()[curve] {
					return y
				}
			}
			return -1
		}
		left, right := highest(marginLeft+50), highest(chartWidth-marginRight-50)
		if left < marginTop-2 || right < marginTop-2 || top > 100 && left < right+100 {
			t.Errorf("with %d at the top the curve is at %d at the left and %d at the right", top, left, right)
		}
	}
}
