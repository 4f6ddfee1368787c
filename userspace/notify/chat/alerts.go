package chat

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/opsgenie"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/pagerduty"

	"weir/userspace/notify/digest"
)

// Alerts are opened when an attack is told of, renewed by changes, and closed at its end: a message's key is the alert's.
// The prefix keeps them apart from alerts of other programs.
const keyPrefix = "weir-"

// pagerdutyService sends events. Source: https://developer.pagerduty.com/docs/send-alert-event.
type pagerdutyService struct{ config *pagerduty.Config }

func (s *pagerdutyService) name() string      { return pagerduty.Scheme }
func (s *pagerdutyService) secrets() []string { return []string{s.config.IntegrationKey} }
func (s *pagerdutyService) forget()           {}

func (s *pagerdutyService) requests(_ context.Context, _ caller, n *note) ([]request, error) {
	c := s.config
	where := "https://" + net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/v2/enqueue"
	post := func(body map[string]any) request {
		body["routing_key"] = c.IntegrationKey
		return request{method: http.MethodPost, url: where, body: body}
	}
	if n.Event == digest.Ended {
		var out []request
		for _, key := range n.Closes {
			out = append(out, post(map[string]any{"event_action": "resolve", "dedup_key": keyPrefix + key}))
		}
		return out, nil
	}
	details := pairsOf(n)
	details["text"] = clip(n.text, 8000)
	body := map[string]any{
		"event_action": "trigger", "dedup_key": keyPrefix + n.Key,
		"payload": map[string]any{
			"summary": clip(n.title, 1024), "source": c.Source, "severity": c.Severity, "timestamp": n.At.UTC().Format("2006-01-02T15:04:05.000Z"),
			"component": n.Strongest().Target, "group": n.Strongest().Group, "class": n.Strongest().Class, "custom_details": details,
		},
	}
	if c.Client != "" {
		body["client"] = c.Client
	}
	if c.ClientURL != "" {
		body["client_url"] = c.ClientURL
	}
	return []request{post(body)}, nil
}

// opsgenieService creates and closes alerts. Source: https://docs.opsgenie.com/docs/alert-api.
type opsgenieService struct{ config *opsgenie.Config }

func (s *opsgenieService) name() string      { return opsgenie.Scheme }
func (s *opsgenieService) secrets() []string { return []string{s.config.APIKey} }
func (s *opsgenieService) forget()           {}

func (s *opsgenieService) requests(_ context.Context, _ caller, n *note) ([]request, error) {
	c := s.config
	where := "https://" + net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/v2/alerts"
	header := map[string]string{"Authorization": "GenieKey " + c.APIKey}
	if n.Event == digest.Ended {
		var out []request
		for _, key := range n.Closes {
			out = append(out, request{
				method: http.MethodPost, url: where + "/" + url.PathEscape(keyPrefix+key) + "/close?identifierType=alias", header: header,
				body: map[string]string{"source": c.Source, "note": clip(n.title, 25000)},
			})
		}
		return out, nil
	}
	details := pairsOf(n)
	for k, v := range c.Details {
		details[k] = v
	}
	return []request{{method: http.MethodPost, url: where, header: header, body: opsgenie.AlertPayload{
		Message: clip(n.title, 130), Alias: keyPrefix + n.Key, Description: clip(n.title+"\n\n"+n.text, 15000), Responders: c.Responders, VisibleTo: c.VisibleTo,
		Actions: c.Actions, Tags: c.Tags, Details: details, Entity: c.Entity, Source: c.Source, Priority: c.Priority, User: c.User, Note: c.Note,
	}}}, nil
}

// check reports options of the URL that the service would refuse only when an attack is on.
func (s *pagerdutyService) check() error {
	switch s.config.Severity {
	case "critical", "error", "warning", "info":
		return nil
	}
	return fmt.Errorf("severity %q is none; expected critical, error, warning or info", s.config.Severity)
}

func (s *opsgenieService) check() error {
	switch s.config.Priority {
	case "", "P1", "P2", "P3", "P4", "P5":
		return nil
	}
	return fmt.Errorf("priority %q is none; expected P1 to P5", s.config.Priority)
}
