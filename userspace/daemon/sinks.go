package daemon

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"weir/userspace/config"
	"weir/userspace/enrich"
	"weir/userspace/export"
	"weir/userspace/notify/chat"
	"weir/userspace/notify/digest"
	"weir/userspace/notify/mail"
	"weir/userspace/notify/webhook"
)

// sinks gathers the runners of what a configuration asks for.
type sinks struct {
	cfg  *config.Config
	log  *slog.Logger
	list []*export.Runner
	errs config.Errors
}

// add makes a runner of a sink unless there was an error.
func (s *sinks) add(name string, limits config.SinkLimits, sink export.Sink, err error) {
	if err != nil {
		s.errs = append(s.errs, s.cfg.At(name, err))
		return
	}
	s.list = append(s.list, export.New(name, sink, export.Options{
		Every: limits.Every, Timeout: limits.Timeout, Queue: limits.Queue, FlowQueue: limits.FlowQueue,
	}, s.log))
}

// CheckSinks reports what of a configuration of stores, streams and people does not work whoever is there: a template with a mistake, a
// certificate that cannot be read. The error is a config.Errors where it knows the place. Nothing is connected to.
func CheckSinks(cfg *config.Config) error {
	_, _, err := makeSinks(cfg, quiet())
	return err
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// makeSinks makes all who are told, and what says more of sources.
func makeSinks(cfg *config.Config, log *slog.Logger) ([]*export.Runner, *enrich.Enricher, error) {
	s := &sinks{cfg: cfg, log: log}
	s.stores(&cfg.Export)
	s.people(&cfg.Notify)
	if len(s.errs) > 0 {
		return nil, nil, s.errs
	}
	about, err := enrich.New(enrich.Options{Files: cfg.Notify.Enrich.Databases, Names: cfg.Notify.Enrich.Names}, log)
	if err != nil {
		return nil, nil, fmt.Errorf("set up notify.enrich: %w", err)
	}
	return s.list, about, nil
}

// newSinks makes all who are told, from the configuration.
func (d *daemon) newSinks(cfg *config.Config) (*exports, error) {
	list, about, err := makeSinks(cfg, d.opts.Log)
	if err != nil {
		return nil, err
	}
	out := newExports(list, about, d.opts.Log)
	if d.records != nil {
		out.folder = d.records.folder
	}
	return out, nil
}

func (s *sinks) people(n *config.Notify) {
	for i, w := range n.Webhooks {
		sink, err := webhook.New(webhook.Options{
			URL: w.URL, Headers: w.Headers, Secret: w.Secret, Kinds: w.Kinds, Template: w.Template, ContentType: w.ContentType, TLS: webhookTLS(w.TLS),
		})
		s.add(fmt.Sprintf("notify.webhooks[%d]", i), w.Limits, sink, err)
	}
	security := map[string]mail.Security{"starttls": mail.StartTLS, "tls": mail.Implicit, "none": mail.None}
	auth := map[string]mail.Auth{"plain": mail.Plain, "login": mail.Login}
	for i, m := range n.Mail {
		secure, err := tlsOf(m.TLS)
		var sink *mail.Sink
		if err == nil {
			most := m.MaxCapture
			if most == 0 {
				most = -1
			}
			sink, err = mail.New(mail.Options{
				Server: m.Server, Security: security[m.Security], TLS: secure, Auth: auth[m.Auth], User: m.User, Password: m.Password, Hello: m.Hello,
				From: m.From, To: m.To, Subject: m.Subject, Text: m.Digest.Text, MaxCapture: most, Digest: digestOf(m.Digest),
			})
		}
		s.add(fmt.Sprintf("notify.mail[%d]", i), m.Limits, sink, err)
	}
	for i, c := range n.Chat {
		sink, err := chat.New(chat.Options{URL: c.URL, Text: c.Digest.Text, Digest: digestOf(c.Digest)})
		s.add(fmt.Sprintf("notify.chat[%d]", i), c.Limits, sink, err)
	}
}

func digestOf(g config.Digest) digest.Options {
	return digest.Options{Wait: g.Wait, Gather: g.Gather, Together: g.Together, Update: g.Update, Messages: g.Messages, Interval: g.Interval, MaxAttacks: g.Attacks}
}

func webhookTLS(t config.TLS) webhook.TLS {
	return webhook.TLS{CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key, ServerName: t.ServerName, Insecure: t.Insecure}
}

// tlsOf reads the files of a section; nil: in the clear, or as the sink does it by itself.
func tlsOf(t config.TLS) (*tls.Config, error) {
	if !t.On {
		return nil, nil
	}
	return webhookTLS(t).Config()
}
