package config

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"weir/userspace/traffic"
)

// Notify says who is told.
type Notify struct {
	Script   Script
	Webhooks []Webhook
	Mail     []Mail
	Chat     []Chat
	Enrich   Enrich
}

// Script is a program in FastNetMon's manner: run with address, direction, packets per second and action, details on its standard input.
type Script struct {
	Path        string // empty: none
	Timeout     time.Duration
	Concurrency int  // runs at a time
	Queue       int  // runs that wait; more are counted and given up
	Details     bool // also run it with attack_details
}

// Webhook is what notify/webhook.Options says.
type Webhook struct {
	Limits      SinkLimits
	URL         string
	Headers     map[string]string
	Secret      string
	Kinds       []traffic.ChangeKind // empty: all
	Template    string
	ContentType string
	TLS         TLS
}

// Digest is what notify/digest.Options says: how few messages are made of many changes.
type Digest struct {
	Wait, Gather time.Duration
	Together     int
	Update       time.Duration
	Messages     int
	Interval     time.Duration
	Attacks      int
	Text         string // a template; empty: the built-in one
}

// Mail is what notify/mail.Options says.
type Mail struct {
	Limits     SinkLimits
	Digest     Digest
	Server     string
	Security   string // starttls, tls, none
	Auth       string // plain, login
	User       string
	Password   string
	Hello      string
	From       string
	To         []string
	Subject    string
	MaxCapture int64 // bytes; 0: none is attached
	TLS        TLS
}

// Chat is a receiver by notify/chat.Options' URL.
type Chat struct {
	Limits SinkLimits
	Digest Digest
	URL    string
}

// Enrich says what is told of the sources of attacks.
type Enrich struct {
	Databases []string // files in MaxMind's format
	Names     bool     // by reverse DNS
}

// notify decodes the section.
func (d *decoder) notify(c *Notify) decodeFunc {
	return d.section(
		field{"script", d.script(&c.Script)},
		field{"webhooks", each(d, &c.Webhooks, `webhooks such as {url: "https://example.net/weir"}`, d.webhook)},
		field{"mail", each(d, &c.Mail, "mails such as {server: localhost, from: weir@example.net, to: [noc@example.net]}", d.mail)},
		field{"chat", each(d, &c.Chat, `receivers such as {url: "slack://..."}`, d.chat)},
		field{"enrich", d.section(
			field{"databases", d.paths(&c.Enrich.Databases)},
			field{"names", d.bool(&c.Enrich.Names)},
		)},
	)
}

// needed reports what a section of a list lacks.
func (d *decoder) needed(at string, n *yaml.Node, keys ...string) {
	for _, key := range keys {
		if n.Kind == yaml.MappingNode && valueOf(n, key) == nil {
			d.errorf(n, "%q has no %q", at, key)
		}
	}
}

func (d *decoder) webhook(w *Webhook) decodeFunc {
	return func(at string, n *yaml.Node) {
		d.sink(&w.Limits,
			field{"url", d.words(&w.URL)},
			field{"headers", d.pairs(&w.Headers)},
			field{"secret", d.words(&w.Secret)},
			field{"kinds", d.kinds(&w.Kinds)},
			field{"template", d.words(&w.Template)},
			field{"content_type", d.words(&w.ContentType)},
			field{"tls", d.tls(&w.TLS)},
		)(at, n)
		d.needed(at, n, "url")
	}
}

// kinds decodes the kinds of changes that somebody is told of.
func (d *decoder) kinds(dst *[]traffic.ChangeKind) decodeFunc {
	var names []string
	for k := range traffic.ChangeKindCount {
		names = append(names, k.String())
	}
	return func(at string, n *yaml.Node) {
		*dst = nil
		for _, item := range d.items(at, n, "a list of "+alternatives(names)) {
			text, ok := d.text(at, item, alternatives(names))
			i := slices.Index(names, text)
			if ok && i < 0 {
				d.expected(at, item, alternatives(names))
			}
			if i >= 0 {
				*dst = append(*dst, traffic.ChangeKind(i))
			}
		}
	}
}

// digest is one field per key that all who get messages have.
func (d *decoder) digest(g *Digest) []field {
	*g = Digest{Wait: 5 * time.Second, Gather: time.Second, Together: 4, Update: time.Minute, Messages: 20, Interval: 10 * time.Minute, Attacks: 4096}
	return []field{
		{"wait", d.duration(&g.Wait, 10*time.Millisecond, time.Hour)},
		{"gather", d.duration(&g.Gather, 10*time.Millisecond, time.Hour)},
		{"together", d.count(&g.Together, 2, 1e6)},
		{"update", d.duration(&g.Update, time.Second, 24*time.Hour)},
		{"messages", d.count(&g.Messages, 1, 1e6)},
		{"interval", d.duration(&g.Interval, time.Second, 24*time.Hour)},
		{"attacks", d.count(&g.Attacks, 1, 1e6)},
		{"text", d.words(&g.Text)},
	}
}

func (d *decoder) mail(m *Mail) decodeFunc {
	return func(at string, n *yaml.Node) {
		*m = Mail{Security: "starttls", Auth: "plain", Subject: "[weir] {{.Title}}", MaxCapture: 5 << 20}
		d.sink(&m.Limits, append(d.digest(&m.Digest),
			field{"server", d.words(&m.Server)},
			field{"security", d.oneOf(&m.Security, "starttls", "tls", "none")},
			field{"auth", d.oneOf(&m.Auth, "plain", "login")},
			field{"user", d.words(&m.User)},
			field{"password", d.words(&m.Password)},
			field{"hello", d.words(&m.Hello)},
			field{"from", d.words(&m.From)},
			field{"to", d.list(&m.To, "mail addresses")},
			field{"subject", d.words(&m.Subject)},
			field{"max_capture", d.size(&m.MaxCapture, 0, 1e9)},
			field{"tls", d.tls(&m.TLS)},
		)...)(at, n)
		d.needed(at, n, "server", "from", "to")
	}
}

func (d *decoder) chat(c *Chat) decodeFunc {
	return func(at string, n *yaml.Node) {
		d.sink(&c.Limits, append(d.digest(&c.Digest), field{"url", d.words(&c.URL)})...)(at, n)
		d.needed(at, n, "url")
	}
}

// paths decodes a list of files.
func (d *decoder) paths(dst *[]string) decodeFunc {
	return func(at string, n *yaml.Node) {
		*dst = nil
		for _, item := range d.items(at, n, "a list of files") {
			path := ""
			d.path(&path, false)(at, item)
			if path != "" {
				*dst = append(*dst, path)
			}
		}
	}
}
