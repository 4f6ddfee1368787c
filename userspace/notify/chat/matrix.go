package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/matrix"
)

// matrixService sends m.room.message events. Source: https://spec.matrix.org/v1.11/client-server-api/.
type matrixService struct {
	config *matrix.Config
	token  string            // of a session; empty: not logged in
	rooms  map[string]string // identifiers by what the URL has, of rooms joined
}

func (s *matrixService) name() string      { return matrix.Scheme }
func (s *matrixService) secrets() []string { return []string{s.config.Password} }
func (s *matrixService) forget()           { s.token, s.rooms = "", nil }

func (s *matrixService) base() string {
	if s.config.DisableTLS {
		return "http://" + s.config.Host + "/_matrix/client/v3"
	}
	return "https://" + s.config.Host + "/_matrix/client/v3"
}

func (s *matrixService) requests(ctx context.Context, call caller, n *note) ([]request, error) {
	if err := s.login(ctx, call); err != nil {
		return nil, err
	}
	title := n.title
	if s.config.Title != "" {
		title = s.config.Title + ": " + title
	}
	body := map[string]string{
		"msgtype": "m.text", "body": title + "\n\n" + n.text, "format": "org.matrix.custom.html",
		"formatted_body": "<strong>" + html.EscapeString(title) + "</strong><pre>" + html.EscapeString(n.text) + "</pre>",
	}
	var out []request
	for i, room := range s.config.Rooms {
		id, err := s.join(ctx, call, room)
		if err != nil {
			return nil, err
		}
		// A transaction that is sent again is one event all the same.
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d", n.Key, n.Event, n.At.UnixNano(), i))
		out = append(out, request{
			method: http.MethodPut, url: s.base() + "/rooms/" + url.PathEscape(id) + "/send/m.room.message/" + hex.EncodeToString(sum[:16]),
			header: s.authorization(), body: body,
		})
	}
	return out, nil
}

func (s *matrixService) authorization() map[string]string {
	return map[string]string{"Authorization": "Bearer " + s.token}
}

// login gets an access token, if the URL does not hold one.
func (s *matrixService) login(ctx context.Context, call caller) error {
	switch {
	case s.token != "":
		return nil
	case s.config.User == "":
		s.token = s.config.Password
		return nil
	}
	answer, err := call(ctx, &request{method: http.MethodPost, url: s.base() + "/login", body: map[string]any{
		"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": s.config.User},
		"password": s.config.Password, "initial_device_display_name": "weir", "device_id": "WEIR",
	}})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	var a struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Token == "" {
		return errors.New("log in: the answer holds no access token")
	}
	s.token = a.Token
	return nil
}

// join joins a room, which also tells the identifier of an alias.
func (s *matrixService) join(ctx context.Context, call caller, room string) (string, error) {
	if id := s.rooms[room]; id != "" {
		return id, nil
	}
	answer, err := call(ctx, &request{method: http.MethodPost, url: s.base() + "/join/" + url.PathEscape(room), header: s.authorization(), body: struct{}{}})
	if err != nil {
		return "", fmt.Errorf("join room %s: %w", room, err)
	}
	var a struct {
		ID string `json:"room_id"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.ID == "" {
		return "", fmt.Errorf("join room %s: the answer holds no room_id", room)
	}
	if s.rooms == nil {
		s.rooms = map[string]string{}
	}
	s.rooms[room] = a.ID
	return a.ID, nil
}
