package decide

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"weir/userspace/traffic"
)

// Bounds of answers.
const (
	maxCommunities = 64
	maxBanTime     = 365 * 24 * time.Hour
)

// read reads what a hook has answered. The response is the rung that is about to be put in force, nil where there is no ladder.
func (s *Script) read(h hook, answer lua.LValue, response *traffic.Response) (Change, error) {
	switch v := answer.(type) {
	case *lua.LNilType:
		return Change{}, nil
	case lua.LBool:
		if v {
			return Change{}, nil
		}
		return Change{Veto: true, Why: s.silent(h)}, nil
	case *lua.LTable:
		c, err := readTable(h, v, response)
		switch {
		case err != nil:
			return Change{}, err
		case c.Veto && c.Why == "":
			c.Why = s.silent(h)
		}
		if c.Veto {
			return Change{Veto: true, Why: c.Why}, nil
		}
		return c, nil
	}
	return Change{}, fmt.Errorf("the answer is a %s; expected nothing or true to go on, false to veto, or a table", answer.Type())
}

// silent is the reason of a veto for which the script gives none.
func (s *Script) silent(h hook) string { return fmt.Sprintf("vetoed by %s in %s", h, s.o.Path) }

// readTable reads a table. Everything in it must be known, so that no wish is lost by a misspelt word.
func readTable(h hook, t *lua.LTable, response *traffic.Response) (c Change, err error) {
	expected := "veto, why"
	if h == onMitigate {
		expected = "veto, why, drop, notify, rung, ban_time, communities"
	}
	known := strings.Split(expected, ", ")
	var first error // by its text: a table has no order
	entries := 0
	for key, value := t.Next(lua.LNil); key != lua.LNil; key, value = t.Next(key) {
		if entries++; entries > maxCommunities {
			return Change{}, fmt.Errorf("the answer has more than %d entries; expected %s", maxCommunities, expected)
		}
		var err error
		if name, ok := key.(lua.LString); !ok || !slices.Contains(known, string(name)) {
			err = fmt.Errorf("the answer has %s; expected %s", show(key), expected)
		} else if err = c.set(string(name), value, response); err != nil {
			err = fmt.Errorf("the answer's %s %w", name, err)
		}
		if err != nil && (first == nil || err.Error() < first.Error()) {
			first = err
		}
	}
	if first != nil {
		return Change{}, first
	}
	return c, nil
}

// set takes one entry of an answer.
func (c *Change) set(name string, v lua.LValue, response *traffic.Response) (err error) {
	switch name {
	case "veto":
		var veto *bool
		if veto, err = flag(v); err == nil {
			c.Veto = *veto
		}
	case "why":
		text, ok := v.(lua.LString)
		if !ok {
			return fmt.Errorf("is a %s; expected a text", v.Type())
		}
		c.Why = strings.TrimSpace(clean(string(text)))
	case "drop":
		c.Drop, err = flag(v)
	case "notify":
		c.Notify, err = flag(v)
	case "rung":
		c.Rung, err = rung(v, response)
	case "ban_time":
		c.BanTime, err = banTime(v)
	case "communities":
		c.Communities, err = communities(v)
	}
	return err
}

func flag(v lua.LValue) (*bool, error) {
	b, ok := v.(lua.LBool)
	if !ok {
		return nil, fmt.Errorf("is a %s; expected true or false", v.Type())
	}
	return new(bool(b)), nil
}

func rung(v lua.LValue, response *traffic.Response) (int, error) {
	if response == nil {
		return 0, errors.New("is not possible: the hostgroup has no ladder of responses")
	}
	n, ok := v.(lua.LNumber)
	if f := float64(n); !ok || f != math.Trunc(f) || !(f >= 1 && f <= float64(response.Rungs)) {
		return 0, fmt.Errorf("is %s; expected a whole number from 1 to %d", show(v), response.Rungs)
	}
	return int(n), nil
}

func banTime(v lua.LValue) (*time.Duration, error) {
	n, ok := v.(lua.LNumber)
	if f := float64(n); !ok || !(f >= 0 && f <= maxBanTime.Seconds()) {
		return nil, fmt.Errorf("is %s; expected seconds from 0 (it ends by hand only) to %.0f", show(v), maxBanTime.Seconds())
	}
	d := time.Duration(math.Round(float64(n) * float64(time.Second)))
	if d == 0 && n > 0 {
		d = 1 // so little is not for ever
	}
	return &d, nil
}

// communities reads a list of AS:VALUE, without repetitions.
func communities(v lua.LValue) ([]string, error) {
	t, ok := v.(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("is a %s; expected a list such as {\"64500:666\"}", v.Type())
	}
	entries := 0
	for key, _ := t.Next(lua.LNil); key != lua.LNil; key, _ = t.Next(key) {
		if entries++; entries > maxCommunities {
			return nil, fmt.Errorf("has more than %d entries", maxCommunities)
		}
	}
	if entries != t.Len() {
		return nil, errors.New("is not a list; expected one such as {\"64500:666\"}, without gaps")
	}
	var list []string
	for n := 1; n <= entries; n++ {
		one, ok := community(t.RawGetInt(n))
		if !ok {
			return nil, fmt.Errorf("has %s; expected texts such as \"64500:666\", both numbers from 0 to 65535", show(t.RawGetInt(n)))
		}
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list, nil
}

// community reads AS:VALUE (RFC 1997), and writes it without leading zeros.
func community(v lua.LValue) (string, bool) {
	text, ok := v.(lua.LString)
	if !ok {
		return "", false
	}
	as, value, ok := strings.Cut(string(text), ":")
	a, errA := strconv.ParseUint(as, 10, 16)
	b, errB := strconv.ParseUint(value, 10, 16)
	if !ok || errA != nil || errB != nil {
		return "", false
	}
	return fmt.Sprintf("%d:%d", a, b), true
}

// show is a value of the script in a message.
func show(v lua.LValue) string {
	switch v := v.(type) {
	case lua.LString:
		return strconv.Quote(clean(string(v)))
	case lua.LNumber, lua.LBool:
		return v.String()
	}
	return "a " + v.Type().String()
}
