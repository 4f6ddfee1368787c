package influxdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/userspace/traffic"
)

// mostWords bounds what is repeated of a server's words, in bytes.
const mostWords = 200

// errNoDatabase is the cause where there is nothing to write to.
var errNoDatabase = errors.New("nothing there to write to")

// judge says what an answer to written lines means. All versions answer 204 when they have stored them.
func (c *client) judge(a answer) error {
	words := c.words(a.body)
	switch a.status {
	case http.StatusNoContent:
		return nil
	case http.StatusOK:
		if len(a.body) == 0 {
			return nil // what stands in for InfluxDB may say so
		}
		return fmt.Errorf("the answer is not InfluxDB's: %q; check the address", words)
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %s", traffic.ErrPermanent, words)
	case http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%w: %s; write fewer bytes in one request", traffic.ErrPermanent, words)
	case http.StatusNotFound:
		return c.notFound(words)
	}
	return c.refused(a, words)
}

func (c *client) notFound(words string) error {
	o := &c.options
	switch lower := strings.ToLower(words); {
	case o.Version == V1 && strings.Contains(lower, "database not found"):
		return fmt.Errorf("%w: %s; create it, or let it be created", errNoDatabase, words)
	case o.Version == V1 && strings.Contains(lower, "retention policy not found"):
		return fmt.Errorf("%w: %s; create the retention policy", errNoDatabase, words)
	case o.Version == V2 && strings.Contains(lower, "not found"):
		return fmt.Errorf("%w: %s; check organisation %q, bucket %q and that the token may write to it", errNoDatabase, words, o.Org, o.Bucket)
	}
	return fmt.Errorf("the server does not know where version %s of InfluxDB is written to (404): %s; check address, version and database", o.Version, words)
}

// refused says what an answer means that speaks of us and of the server, not of the data.
func (c *client) refused(a answer, words string) error {
	switch {
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		who := "no credentials were given"
		switch o := &c.options; {
		case o.Token != "":
			who = "the token was refused"
		case o.User != "":
			who = fmt.Sprintf("user %q was refused", o.User)
		}
		return fmt.Errorf("%s (%d): %s; check the credentials, and that they may write there", who, a.status, words)
	case a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable:
		return &Busy{After: retryAfter(a.header.Get("Retry-After"), a.header.Get("Date")), Words: words}
	case a.status >= 300 && a.status < 400:
		return fmt.Errorf("the server sends us elsewhere (%d), which is not followed; use the address that it means", a.status)
	}
	return fmt.Errorf("the server answered %d: %s", a.status, words)
}

// retryAfter reads a wait in seconds, or until a time by the server's clock (RFC 9110 section 10.2.3). It returns 0 for what is neither, and an hour at most.
func retryAfter(value, date string) time.Duration {
	const most = time.Hour
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(most/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return most
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	return min(max(until.Sub(now), 0), most)
}

// judgeQuery says what an answer to a statement means: errors of statements come with status 200.
func (c *client) judgeQuery(a answer) error {
	words := c.words(a.body)
	if a.status != http.StatusOK {
		return c.refused(a, words)
	}
	var said struct {
		Results []struct {
			Error string `json:"error"`
		} `json:"results"`
	}
	if err := json.Unmarshal(a.body, &said); err != nil || len(said.Results) == 0 {
		return fmt.Errorf("the answer is not InfluxDB's: %q; check the address", words)
	}
	for _, r := range said.Results {
		if r.Error != "" {
			return errors.New(c.safe(r.Error))
		}
	}
	return nil
}

// words are what the server says went wrong: in JSON version 1 as error, 2 as message, 3 as error and, of each line, as error_message.
func (c *client) words(body []byte) string {
	var said struct {
		Error   string          `json:"error"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	text := string(body)
	if json.Unmarshal(body, &said) == nil && said.Error+said.Message != "" {
		text = said.Message
		if text == "" {
			text = said.Error
		}
		var lines []struct {
			Message string `json:"error_message"`
			Number  uint64 `json:"line_number"`
		}
		if json.Unmarshal(said.Data, &lines) == nil && len(lines) > 0 {
			text += fmt.Sprintf(": line %d: %s", lines[0].Number, lines[0].Message)
		}
	}
	return c.safe(text)
}

// safe is a server's text on one line, cut, and without our secrets.
func (c *client) safe(text string) string {
	for _, secret := range c.secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	text = plain(text, mostWords)
	if text == "" {
		return "it did not say why"
	}
	return text
}
