package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/teams"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"

	"weir/userspace/notify/digest"
	"weir/userspace/traffic"
)

// slackService posts to an incoming webhook or calls chat.postMessage.
// Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and https://docs.slack.dev/reference/methods/chat.postMessage.
type slackService struct{ config *slack.Config }

func (s *slackService) name() string { return slack.Scheme }
func (s *slackService) forget()      {}
func (s *slackService) secrets() []string {
	t := &s.config.Token
	return []string{t.WebhookURL(), t.String(), t.Authorization(), strings.TrimPrefix(t.Authorization(), "Bearer ")}
}

func (s *slackService) requests(_ context.Context, _ caller, n *note) ([]request, error) {
	c := s.config
	plain := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;") // what Slack reads as control characters
	// Slack cuts texts at 40,000 characters; one of 4,000 is as long as people read.
	text := "*" + plain.Replace(n.title) + "*"
	if c.Title != "" {
		text = "*" + plain.Replace(c.Title) + "* " + text
	}
	if n.text != "" {
		text += "\n```\n" + plain.Replace(strings.ReplaceAll(clip(n.text, 3800), "```", "'''")) + "\n```"
	}
	body := map[string]any{"text": text, "unfurl_links": false}
	if c.BotName != "" {
		body["username"] = c.BotName
	}
	switch {
	case strings.HasPrefix(c.Icon, "http://"), strings.HasPrefix(c.Icon, "https://"):
		body["icon_url"] = c.Icon
	case c.Icon != "":
		body["icon_emoji"] = c.Icon
	}
	if c.ThreadTS != "" {
		body["thread_ts"] = c.ThreadTS
	}
	if !c.Token.IsAPIToken() {
		return []request{{method: http.MethodPost, url: c.Token.WebhookURL(), body: body}}, nil
	}
	body["channel"] = c.Channel
	return []request{{
		method: http.MethodPost, url: "https://slack.com/api/chat.postMessage", body: body,
		header: map[string]string{"Authorization": c.Token.Authorization()}, ok: slackOK,
	}}, nil
}

// slackOK reads the answer of Slack's API, which says with status 200 that something is wrong.
func slackOK(_ int, answer []byte) error {
	var a struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	switch err := json.Unmarshal(answer, &a); {
	case err != nil:
		return fmt.Errorf("the answer is not Slack's%s", excerpt(answer))
	case a.OK:
		return nil
	}
	switch a.Error {
	case "msg_too_long", "no_text", "invalid_arguments", "invalid_blocks":
		return fmt.Errorf("slack says %q: %w", a.Error, traffic.ErrPermanent)
	}
	return fmt.Errorf("slack says %q", clip(a.Error, 100))
}

// telegramService calls sendMessage of the bot API for each chat. Source: https://core.telegram.org/bots/api#sendmessage.
type telegramService struct{ config *telegram.Config }

func (s *telegramService) name() string      { return telegram.Scheme }
func (s *telegramService) secrets() []string { return []string{s.config.Token} }
func (s *telegramService) forget()           {}

func (s *telegramService) requests(_ context.Context, _ caller, n *note) ([]request, error) {
	text := n.title
	if s.config.Title != "" {
		text = s.config.Title + ": " + text
	}
	text = clip(text+"\n\n"+n.text, 4096)
	var out []request
	for _, chat := range s.config.Chats {
		body := map[string]any{"chat_id": chat, "text": text, "disable_notification": !s.config.Notification, "link_preview_options": map[string]bool{"is_disabled": true}}
		// A standard text is no markup: what an operator's template writes as such is read as such.
		if mode := s.config.ParseMode.String(); mode != "" && mode != "None" {
			body["parse_mode"] = mode
		}
		out = append(out, request{method: http.MethodPost, url: "https://api.telegram.org/bot" + s.config.Token + "/sendMessage", body: body, ok: telegramOK})
	}
	return out, nil
}

func telegramOK(_ int, answer []byte) error {
	var a struct {
		OK          bool   `json:"ok"`
		Description string `json:"description"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || !a.OK {
		return fmt.Errorf("telegram did not take it%s", excerpt(answer))
	}
	return nil
}

// discordService executes a webhook. Source: https://discord.com/developers/docs/resources/webhook#execute-webhook.
type discordService struct{ config *discord.Config }

func (s *discordService) name() string      { return discord.Scheme }
func (s *discordService) secrets() []string { return []string{s.config.Token} }
func (s *discordService) forget()           {}

func (s *discordService) requests(_ context.Context, _ caller, n *note) ([]request, error) {
	c := s.config
	embed := map[string]any{"title": clip(n.title, 256), "color": [...]uint{c.ColorError, c.ColorWarn, c.ColorInfo}[min(n.Event, digest.Ended)], "timestamp": n.At.UTC().Format("2006-01-02T15:04:05Z")}
	if n.text != "" {
		embed["description"] = "```\n" + strings.ReplaceAll(clip(n.text, 4000), "```", "'''") + "\n```"
	}
	// Nobody is called by what a reverse name or a template holds.
	body := map[string]any{"embeds": []any{embed}, "allowed_mentions": map[string]any{"parse": []string{}}}
	if c.Title != "" {
		body["content"] = clip(c.Title, 2000)
	}
	if c.Username != "" {
		body["username"] = c.Username
	}
	if c.Avatar != "" {
		body["avatar_url"] = c.Avatar
	}
	return []request{{method: http.MethodPost, url: discord.CreateAPIURLFromConfig(c), body: body}}, nil
}

// teamsService posts a card to an incoming webhook.
// Source: https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using.
type teamsService struct{ config *teams.Config }

func (s *teamsService) name() string { return teams.Scheme }
func (s *teamsService) forget()      {}
func (s *teamsService) secrets() []string {
	parts := s.config.WebhookParts()
	return parts[:]
}

func (s *teamsService) requests(_ context.Context, _ caller, n *note) ([]request, error) {
	c := s.config
	title := n.title
	if c.Title != "" {
		title = c.Title + ": " + title
	}
	color := c.Color
	if color == "" {
		color = [...]string{"D60510", "FFC441", "2488FF"}[min(n.Event, digest.Ended)]
	}
	body := map[string]any{
		"@type": "MessageCard", "@context": "https://schema.org/extensions", "themeColor": color, "summary": clip(title, 256), "title": clip(title, 256),
		"text": "<pre>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(clip(n.text, 8000)) + "</pre>",
	}
	p := c.WebhookParts()
	where := "https://" + c.Host + "/webhookb2/" + p[0] + "@" + p[1] + "/IncomingWebhook/" + p[2] + "/" + p[3] + "/" + p[4]
	return []request{{method: http.MethodPost, url: where, body: body, ok: teamsOK}}, nil
}

// teamsOK reads the answer, which is 1, or an error's text, also with status 200.
func teamsOK(status int, answer []byte) error {
	if text := strings.TrimSpace(string(answer)); status == http.StatusOK && text != "1" {
		if strings.Contains(text, "413") {
			return fmt.Errorf("teams finds it too large%s: %w", excerpt(answer), traffic.ErrPermanent)
		}
		return errors.New("teams did not take it" + excerpt(answer))
	}
	return nil
}
