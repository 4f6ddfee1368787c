package chat

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/matrix"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/teams"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/opsgenie"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/pagerduty"

	"weir/userspace/notify/digest"
	"weir/userspace/traffic"
)

// Schemes are the URLs' first words.
func Schemes() []string {
	return []string{discord.Scheme, matrix.Scheme, opsgenie.Scheme, pagerduty.Scheme, slack.Scheme, teams.Scheme, telegram.Scheme}
}

// parse reads a URL. Errors hold nothing of it but the scheme.
func parse(text string) (s service, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("use chat URL: it is none; it begins with one of %s://", strings.Join(Schemes(), "://, "))
	}
	defer func() {
		// What is in the URL comes from an operator: a slip in it must not end the daemon, whatever the library makes of it.
		if r := recover(); r != nil {
			s, err = nil, fmt.Errorf("use %s URL: it lacks a part; see the documentation for its form", u.Scheme)
		}
	}()
	switch u.Scheme {
	case slack.Scheme:
		c := &slack.Config{}
		s, err = &slackService{c}, c.SetURL(u)
	case telegram.Scheme:
		c := &telegram.Config{Preview: true, Notification: true}
		s, err = &telegramService{c}, c.SetURL(u)
	case discord.Scheme:
		c := &discord.Config{ColorError: 0xd60510, ColorWarn: 0xffc441, ColorInfo: 0x2488ff}
		s, err = &discordService{c}, c.SetURL(u)
	case teams.Scheme:
		c := &teams.Config{}
		if err = c.SetURL(u); err == nil && !teams.HostValidator.MatchString(c.Host) {
			err = fmt.Errorf("host %q is not of the form ORGANIZATION.webhook.office.com", c.Host)
		}
		s = &teamsService{c}
	case matrix.Scheme:
		c := &matrix.Config{}
		if err = c.SetURL(u); err == nil && (c.Host == "" || c.Password == "" || len(c.Rooms) == 0) {
			err = errors.New("it lacks the host, the password or access token, or rooms")
		}
		s = &matrixService{config: c}
	case pagerduty.Scheme:
		c := &pagerduty.Config{Host: "events.pagerduty.com", Port: 443, Severity: "critical", Source: "weir", Client: "Weir"}
		p := &pagerdutyService{c}
		if err = c.SetURL(u); err == nil {
			err = p.check()
		}
		s = p
	case opsgenie.Scheme:
		c := &opsgenie.Config{Source: "weir"}
		if err = c.SetURL(u); err == nil && c.APIKey == "" {
			err = opsgenie.ErrAPIKeyMissing
		}
		c.Host = cmp.Or(c.Host, "api.opsgenie.com")
		o := &opsgenieService{c}
		if err == nil {
			err = o.check()
		}
		s = o
	default:
		return nil, fmt.Errorf("use chat URL: unknown scheme; it begins with one of %s://", strings.Join(Schemes(), "://, "))
	}
	if err != nil {
		return nil, fmt.Errorf("use %s URL: %s", u.Scheme, redactor(parts(u)).Replace(err.Error()))
	}
	return s, nil
}

// parts are all parts of a URL that may be secret or make one.
func parts(u *url.URL) []string {
	password, _ := u.User.Password()
	name := u.User.Username()
	out := []string{u.String(), name + ":" + password}
	for _, p := range append(strings.Split(u.Path, "/"), password, name, u.Path, u.Host) {
		if len(p) >= 6 && p != u.Scheme { // shorter ones are words of the error itself
			out = append(out, p)
		}
	}
	for _, values := range u.Query() {
		for _, v := range values {
			if len(v) >= 16 {
				out = append(out, v)
			}
		}
	}
	return out
}

// pairsOf are the facts about a message that alerts show as a table.
func pairsOf(n *note) map[string]string {
	s := n.Strongest()
	out := map[string]string{
		"target": s.Target, "direction": s.Direction, "hostgroup": s.Group, "class": s.Class, "peak": peak(n), "response": s.Response, "reason": s.Trip,
		"attacks": fmt.Sprint(n.Count), "hosts": fmt.Sprint(n.Hosts), "networks": strings.Join(n.Networks, ", "),
	}
	for k, v := range out {
		if v == "" {
			delete(out, k)
		}
	}
	return out
}

func peak(n *note) string {
	if n.Peak == (traffic.Counts{}) {
		return ""
	}
	return digest.Rate(n.Peak)
}
