package chat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/traffic"
)

const (
	slackHook   = "slack://hook:T12345678-B12345678-abcdefghijklmnopqrstuvwx@webhook"
	slackBot    = "slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C0123456789?botname=weir&icon=ocean"
	telegramURL = "telegram://123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr@telegram?chats=@noc,-1001234567890&notification=no"
	discordURL  = "discord://dIsCoRdToKeN0123456789@9876543210?username=weir"
	teamsURL    = "teams://11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/33333333012222222222333333333344/44444444-4444-4444-8444-cccccccccccc/V2ESyijextra?host=example.webhook.office.com"
	matrixURL   = "matrix://weir:mAtRiXpAsSwOrD@matrix.example.net/?rooms=!abc:example.net,noc:example.net"
	pagerURL    = "pagerduty://events.eu.pagerduty.com/0123456789abcdef0123456789ABCDEF?severity=warning&source=border1"
	opsgenieURL = "opsgenie://api.eu.opsgenie.com/eb243592-faa2-4ba2-a551q-1afdf565c889?priority=P1&tags=ddos,border&responders=team:NOC"
)

const title = "Attack on 192.0.2.7: dns_amplification, 5 kpps, 4 Mbit/s"

type object = map[string]any

// fine answers as each service does when all is well.
func fine(_ int, r received) (int, string) {
	switch {
	case strings.HasSuffix(r.URL, "/login"):
		return 200, `{"access_token":"session"}`
	case strings.Contains(r.URL, "/join/%21abc:example.net"):
		return 200, `{"room_id":"!abc:example.net"}`
	case strings.Contains(r.URL, "/join/"):
		return 200, `{"room_id":"!def:example.net"}`
	case strings.Contains(r.URL, "office.com"):
		return 200, "1"
	case strings.Contains(r.URL, "hooks.slack.com"):
		return 200, "ok"
	case strings.Contains(r.URL, "discord"):
		return 204, ""
	case strings.Contains(r.URL, "pagerduty"), strings.Contains(r.URL, "opsgenie"):
		return 202, `{"status":"success"}`
	}
	return 200, `{"ok":true}`
}

func TestRequestsAreThoseOfTheServices(t *testing.T) {
	slackText := "*" + title + "*\n```\n&lt;@all&gt; &amp; 192.0.2.7\n```"
	matrixBody := object{"msgtype": "m.text", "body": title + "\n\n<@all> & 192.0.2.7", "format": "org.matrix.custom.html",
		"formatted_body": "<strong>" + title + "</strong><pre>&lt;@all&gt; &amp; 192.0.2.7</pre>"}
	facts := object{"attacks": "1", "class": "dns_amplification", "direction": "incoming", "hostgroup": "servers", "hosts": "1", "networks": "192.0.2.7/32",
		"peak": "5 kpps, 4 Mbit/s", "reason": "by hand", "response": "drop", "target": "192.0.2.7"}
	with := func(o object, key string, value any) object {
		out := object{key: value}
		for k, v := range o {
			out[k] = v
		}
		return out
	}
	telegram := func(chat string) received {
		return received{"POST", "https://api.telegram.org/bot123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr/sendMessage", "", object{
			"chat_id": chat, "text": title + "\n\n<@all> & 192.0.2.7", "disable_notification": true, "link_preview_options": object{"is_disabled": true}}}
	}
	key := "0123456789abcdef0123456789ABCDEF"
	genie := "GenieKey eb243592-faa2-4ba2-a551q-1afdf565c889"
	for url, want := range map[string][]received{
		slackHook: {{"POST", "https://hooks.slack.com/services/T12345678/B12345678/abcdefghijklmnopqrstuvwx", "", object{"text": slackText, "unfurl_links": false}}},
		slackBot: {{"POST", "https://slack.com/api/chat.postMessage", "Bearer xoxb-123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N",
			object{"text": slackText, "unfurl_links": false, "channel": "C0123456789", "username": "weir", "icon_emoji": "ocean"}}},
		telegramURL: {telegram("@noc"), telegram("-1001234567890")},
		discordURL: {{"POST", "https://discord.com/api/webhooks/9876543210/dIsCoRdToKeN0123456789", "", object{
			"username": "weir", "allowed_mentions": object{"parse": []any{}},
			"embeds": []any{object{"title": title, "color": float64(0xd60510), "timestamp": "2026-05-06T07:10:09Z", "description": "```\n<@all> & 192.0.2.7\n```"}}}}},
		teamsURL: {{"POST", "https://example.webhook.office.com/webhookb2/11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/IncomingWebhook/33333333012222222222333333333344/44444444-4444-4444-8444-cccccccccccc/V2ESyijextra", "",
			object{"@type": "MessageCard", "@context": "https://schema.org/extensions", "themeColor": "D60510", "summary": title, "title": title, "text": "<pre>&lt;@all&gt; &amp; 192.0.2.7</pre>"}}},
		matrixURL: {
			{"POST", "https://matrix.example.net/_matrix/client/v3/login", "", object{"type": "m.login.password", "identifier": object{"type": "m.id.user", "user": "weir"},
				"password": "mAtRiXpAsSwOrD", "initial_device_display_name": "weir", "device_id": "WEIR"}},
			{"POST", "https://matrix.example.net/_matrix/client/v3/join/%21abc:example.net", "Bearer session", object{}},
			{"POST", "https://matrix.example.net/_matrix/client/v3/join/%23noc:example.net", "Bearer session", object{}},
			{"PUT", "https://matrix.example.net/_matrix/client/v3/rooms/%21abc:example.net/send/m.room.message/TRANSACTION", "Bearer session", matrixBody},
			{"PUT", "https://matrix.example.net/_matrix/client/v3/rooms/%21def:example.net/send/m.room.message/TRANSACTION", "Bearer session", matrixBody},
		},
		pagerURL: {{"POST", "https://events.eu.pagerduty.com/v2/enqueue", "", object{
			"routing_key": key, "event_action": "trigger", "dedup_key": "weir-a", "client": "Weir", "payload": object{
				"summary": title, "severity": "warning", "source": "border1", "timestamp": "2026-05-06T07:10:09.000Z", "component": "192.0.2.7", "group": "servers",
				"class": "dns_amplification", "custom_details": with(facts, "text", "<@all> & 192.0.2.7")}}},
			{"POST", "https://events.eu.pagerduty.com/v2/enqueue", "", object{"routing_key": key, "event_action": "resolve", "dedup_key": "weir-a"}}},
		opsgenieURL: {{"POST", "https://api.eu.opsgenie.com/v2/alerts", genie, object{
			"message": title, "alias": "weir-a", "description": title + "\n\n<@all> & 192.0.2.7", "priority": "P1", "tags": []any{"ddos", "border"},
			"responders": []any{object{"type": "team", "name": "NOC"}}, "source": "weir", "details": facts}},
			{"POST", "https://api.eu.opsgenie.com/v2/alerts/weir-a/close?identifierType=alias", genie, object{"source": "weir", "note": "Ended: attack on " + title[len("Attack on "):]}}},
	} {
		t.Run(url[:strings.Index(url, ":")], func(t *testing.T) {
			v := newReceiver(t, fine)
			s := mustNew(t, v, url)
			if err := tell(t, s, change(traffic.ChangeBanned, "a", 0)); err != nil {
				t.Fatal(err)
			}
			if len(want) == 2 && (url == pagerURL || url == opsgenieURL) {
				if err := tell(t, s, change(traffic.ChangeEnded, "a", 30)); err != nil {
					t.Fatal(err)
				}
			}
			got := append([]received(nil), v.all()...)
			seen := map[string]bool{}
			for i := range got {
				if at := strings.Index(got[i].URL, "m.room.message/"); at >= 0 {
					transaction := got[i].URL[at+len("m.room.message/"):]
					if seen[transaction] {
						t.Error("two rooms have one transaction")
					}
					seen[transaction] = true
					got[i].URL = strings.TrimSuffix(got[i].URL, transaction) + "TRANSACTION"
				}
			}
			// Only what goes to a port that is not the standard one names it.
			for i := range got {
				got[i].URL = strings.Replace(got[i].URL, ":443/", "/", 1)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFailuresAreToldWithoutSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		url, answer string
		status      int
		want        string
		permanent   bool
	}{
		"busy":             {url: discordURL, status: 429, answer: `{"retry_after":1}`, want: `send message about a to discord: the server answers 429: "{\"retry_after\":1}"`},
		"broken":           {url: slackHook, status: 500, want: "to slack: the server answers 500"},
		"refused":          {url: teamsURL, status: 400, answer: "Bad\r\n\x1b[31mpayload", want: `answers 400: "Bad [31mpayload"`, permanent: true},
		"gone":             {url: discordURL, status: 404, want: "answers 404; check the URL with its keys"},
		"secret in answer": {url: telegramURL, status: 401, answer: "no bot 123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr", want: `answers 401: "no bot ***"`},
		"wrong in 200":     {url: slackBot, status: 200, answer: `{"ok":false,"error":"invalid_auth"}`, want: `slack says "invalid_auth"`},
		"too long in 200":  {url: slackBot, status: 200, answer: `{"ok":false,"error":"msg_too_long"}`, want: `slack says "msg_too_long"`, permanent: true},
		"garbage in 200":   {url: telegramURL, status: 200, answer: "<html>", want: `telegram did not take it: "<html>"`},
		"teams in 200":     {url: teamsURL, status: 200, answer: "Webhook message delivery failed", want: "teams did not take it"},
		"redirected":       {url: pagerURL, status: 302, want: "answers 302"},
		"no token":         {url: matrixURL, status: 200, answer: "{}", want: "log in: the answer holds no access token"},
		"endless":          {url: opsgenieURL, status: 422, answer: strings.Repeat("endless ", 100_000), want: "answers 422", permanent: true},
		"hangs":            {url: opsgenieURL, want: "context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newReceiver(t, func(int, received) (int, string) { return c.status, c.answer })
			s := mustNew(t, v, c.url)
			if err := s.Tell(t.Context(), []traffic.Change{change(traffic.ChangeBanned, "a", 0)}); err != nil {
				t.Fatal(err)
			}
			timeout := 10 * time.Second
			if c.status == 0 {
				timeout = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			err := s.Tell(ctx, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
				t.Fatalf("Tell gives %v, want %q in it", err, c.want)
			}
			if errors.Is(err, traffic.ErrPermanent) != c.permanent {
				t.Errorf("%v: permanent is %v, want %v", err, !c.permanent, c.permanent)
			}
			for _, secret := range s.service.secrets() {
				if secret != "" && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err.Error(), errors.Unwrap(err)), secret) {
					t.Errorf("%v holds %s", err, secret)
				}
			}
		})
	}
}

func TestAwayIsToldWithoutSecrets(t *testing.T) {
	v := newReceiver(t, fine)
	v.transport.DialContext = nil
	v.transport.Proxy = nil
	s := mustNew(t, v, "matrix://:sEcReTtOkEn@127.0.0.1:1/?disableTLS=yes&rooms=!a:b")
	err := tell(t, s, change(traffic.ChangeBanned, "a", 0))
	if err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "sEcReT") {
		t.Errorf("Tell gives %v", err)
	}
}

func TestOnlyWhatFailedIsSentAgain(t *testing.T) {
	v := newReceiver(t, func(n int, r received) (int, string) {
		if n == 1 {
			return 503, "later"
		}
		return fine(n, r)
	})
	s := mustNew(t, v, telegramURL)
	if err := tell(t, s, change(traffic.ChangeBanned, "a", 0)); err == nil {
		t.Fatal("status 503 is no error")
	}
	if err := s.Tell(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var chats []any
	for _, r := range v.all() {
		chats = append(chats, r.Body["chat_id"])
	}
	if diff := cmp.Diff([]any{"@noc", "-1001234567890", "-1001234567890"}, chats); diff != "" {
		t.Errorf("chats (-want +got):\n%s", diff)
	}
}

func TestEveryAlertIsClosed(t *testing.T) {
	v := newReceiver(t, fine)
	s := mustNew(t, v, pagerURL)
	for i := range 5 {
		if err := tell(t, s, change(traffic.ChangeBanned, fmt.Sprint("a", i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	var ends []traffic.Change
	for i := range 5 {
		ends = append(ends, change(traffic.ChangeEnded, fmt.Sprint("a", i), 300))
	}
	if err := tell(t, s, ends...); err != nil {
		t.Fatal(err)
	}
	open := map[any]bool{}
	for _, r := range v.all() {
		open[r.Body["dedup_key"]] = r.Body["event_action"] == "trigger"
	}
	if diff := cmp.Diff(map[any]bool{"weir-a0": false, "weir-a1": false, "weir-a2": false, "weir-a3": false, "weir-a4": false}, open); diff != "" {
		t.Errorf("open alerts (-want +got):\n%s", diff)
	}
}

func TestURLsAreChecked(t *testing.T) {
	for url, want := range map[string]string{
		"":                        "unknown scheme; it begins with one of discord://, matrix://",
		"irc://sEcReT@host":       "unknown scheme",
		"slack://sEcReT\x7f@host": "use chat URL: it is none",
		"slack://sEcReT@webhook":  "use slack URL: ",
		"telegram://sEcReT-token@telegram?chats=1":                                 "use telegram URL: invalid telegram token: ***",
		strings.Split(telegramURL, "?")[0]:                                         "use telegram URL: no channels defined",
		"discord://sEcReTsEcReT@":                                                  "use discord URL: webhook ID missing",
		"teams://sEcReTsEcReT@tenant/a/b/c?host=x.webhook.office.com":              "use teams URL: ",
		strings.Replace(teamsURL, "example.webhook.office.com", "evil.example", 1): "is not of the form ORGANIZATION.webhook.office.com",
		"matrix://weir:sEcReTsEcReT@host/":                                         "use matrix URL: it lacks the host",
		"matrix://weir:sEcReTsEcReT@host/?rooms=,":                                 "use matrix URL: it lacks a part",
		"pagerduty://events.pagerduty.com/sEcReTsEcReT":                            "use pagerduty URL: ",
		strings.Replace(pagerURL, "severity=warning", "severity=bad", 1):           `severity "bad" is none; expected critical`,
		strings.Replace(opsgenieURL, "priority=P1", "priority=P9", 1):              `priority "P9" is none; expected P1 to P5`,
		"opsgenie://api.opsgenie.com/":                                             "use opsgenie URL: API key missing",
		"discord://sEcReTsEcReT@123?unknown=1":                                     "use discord URL: ",
	} {
		_, err := New(Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sEcReT") {
			t.Errorf("New with %q gives %v, want %q in it", url, err, want)
		}
	}
	if _, err := New(Options{URL: discordURL, Text: "{{.Nothing}}"}); err == nil || !strings.Contains(err.Error(), `use discord text: use template: line 1`) {
		t.Errorf("New with a bad template gives %v", err)
	}
}
