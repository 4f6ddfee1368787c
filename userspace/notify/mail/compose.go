package mail

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/userspace/notify/digest"
)

// compose writes the mail about a message: multipart/mixed of multipart/related (text or HTML, chart) and the capture.
func (s *Sink) compose(m digest.Message) ([]byte, error) {
	subject, err := s.subject.Render(m)
	if err != nil {
		return nil, err
	}
	subject = strings.Join(strings.Fields(subject), " ") // one line
	text, err := s.text.Render(m)
	if err != nil {
		return nil, err
	}
	chart, err := Chart(m.Title(), m.Rates)
	if err != nil {
		return nil, err
	}
	capture, name, note := s.capture(m)
	if note != "" {
		text += "\n" + note + "\n"
	}
	id := make([]byte, 12)
	_, _ = rand.Read(id) // it never fails

	var b bytes.Buffer
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", s.from.String())
	header("To", addresses(s.to))
	header("Subject", mime.QEncoding.Encode("utf-8", subject))
	header("Date", s.options.Clock().Format(time.RFC1123Z))
	header("Message-ID", "<"+hex.EncodeToString(id)+"@"+domain(s.from.Address)+">")
	// Mails about one attack make one thread.
	header("References", "<weir."+hex.EncodeToString([]byte(m.Key))+"@"+domain(s.from.Address)+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	header("X-Weir-Event", m.Event.String())
	header("MIME-Version", "1.0")

	mixed := multipart.NewWriter(&b)
	header("Content-Type", `multipart/mixed; boundary="`+mixed.Boundary()+`"`)
	b.WriteString("\r\n")
	related, err := nested(mixed, "related")
	if err != nil {
		return nil, err
	}
	alternative, err := nested(related, "alternative")
	if err != nil {
		return nil, err
	}
	picture := ""
	if chart != nil {
		picture = `<p><img src="cid:chart@weir" width="640" height="240" alt="rate over time"></p>`
	}
	page := "<!DOCTYPE html><html><body><pre>" + html.EscapeString(text) + "</pre>" + picture + "</body></html>"
	if err := errors.Join(
		quoted(alternative, "text/plain", text), quoted(alternative, "text/html", page), alternative.Close(),
		attach(related, "image/png", "chart.png", "inline", chart), related.Close(),
		attach(mixed, "application/vnd.tcpdump.pcap", name, "attachment", capture), mixed.Close(),
	); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// capture reads the file with the strongest attack's packets, or says in a note why it is not attached.
func (s *Sink) capture(m digest.Message) (data []byte, name, note string) {
	path := m.Strongest().Capture
	if path == "" || s.options.MaxCapture < 0 {
		return nil, "", ""
	}
	name = filepath.Base(path)
	f, err := os.Open(path)
	if err != nil {
		return nil, "", "The file with the packets cannot be attached: " + err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, "", "The file with the packets cannot be attached: " + err.Error()
	case !info.Mode().IsRegular():
		return nil, "", "The file with the packets cannot be attached: " + path + " is no plain file"
	}
	// It may be written to while it is read: the limit counts, not the size it had.
	data, err = io.ReadAll(io.LimitReader(f, s.options.MaxCapture+1))
	switch {
	case err != nil:
		return nil, "", "The file with the packets cannot be attached: " + err.Error()
	case int64(len(data)) > s.options.MaxCapture:
		return nil, "", fmt.Sprintf("The file with the packets is larger than %d bytes and not attached: %s", s.options.MaxCapture, path)
	}
	return data, name, ""
}

// nested begins a multipart part within another.
func nested(outer *multipart.Writer, kind string) (*multipart.Writer, error) {
	var inner *multipart.Writer
	// The boundary stands in the part's header, before the writer that makes it can write.
	boundary := multipart.NewWriter(io.Discard).Boundary()
	part, err := outer.CreatePart(textproto.MIMEHeader{"Content-Type": {"multipart/" + kind + `; boundary="` + boundary + `"`}})
	if err != nil {
		return nil, err
	}
	inner = multipart.NewWriter(part)
	return inner, inner.SetBoundary(boundary)
}

func quoted(w *multipart.Writer, kind, text string) error {
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {kind + "; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(part)
	_, err = q.Write([]byte(text))
	return errors.Join(err, q.Close())
}

// attach adds a file in Base64; nil data is no file.
func attach(w *multipart.Writer, kind, name, how string, data []byte) error {
	if data == nil {
		return nil
	}
	h := textproto.MIMEHeader{
		"Content-Type": {kind}, "Content-Transfer-Encoding": {"base64"},
		"Content-Disposition": {mime.FormatMediaType(how, map[string]string{"filename": name})},
	}
	if how == "inline" {
		h.Set("Content-ID", "<chart@weir>")
	}
	part, err := w.CreatePart(h)
	if err != nil {
		return err
	}
	const columns = 76
	e := base64.StdEncoding
	for len(data) > 0 {
		n := min(len(data), columns/4*3)
		if _, err := part.Write([]byte(e.EncodeToString(data[:n]) + "\r\n")); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func addresses(list []*netmail.Address) string {
	var out []string
	for _, a := range list {
		out = append(out, a.String())
	}
	return strings.Join(out, ",\r\n ")
}

func domain(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }
