package config

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// unit is a suffix and what it multiplies by.
type unit struct {
	suffix string
	factor float64
}

// The parsers below know nothing of places: they say whether a text is a value, their callers say where it stands and what was expected.

// parseNumber reads a decimal number, not negative, with optional underscores between digits and one of the units behind it.
// Without units the number stands alone; a unit with an empty suffix lets it.
func parseNumber(text string, units []unit) (float64, bool) {
	number, rest := splitNumber(text)
	for _, u := range units {
		if strings.TrimLeft(rest, " ") == u.suffix {
			value, err := strconv.ParseFloat(strings.ReplaceAll(number, "_", ""), 64)
			return value * u.factor, err == nil && number != "" && !math.IsInf(value, 0)
		}
	}
	return 0, false
}

// splitNumber cuts the digits off the front of text; exponents, signs, "inf" and "nan" are none.
func splitNumber(text string) (number, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != '_' })
	if end < 0 {
		end = len(text)
	}
	if end == 0 || text[0] == '_' || text[end-1] == '_' {
		return "", text
	}
	return text[:end], text[end:]
}

// parseRate reads packets or flows per second: 20000, 20k, 1.5M.
func parseRate(text string) (float64, bool) {
	return parseNumber(text, []unit{{"", 1}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}})
}

// parseMegabits reads Mbit/s. It takes no suffix: "10G" could mean 10 Gbit/s or 10 G times a Mbit/s.
func parseMegabits(text string) (float64, bool) {
	return parseNumber(text, []unit{{"", 1}})
}

// parseCount reads a whole number: 1000, 64k.
func parseCount(text string) (int, bool) {
	value, ok := parseNumber(text, []unit{{"", 1}, {"k", 1e3}, {"M", 1e6}})
	return int(value), ok && value == math.Trunc(value) && value <= math.MaxInt32
}

// parseSize reads bytes: 512MB (10^6), 512MiB (2^20).
func parseSize(text string) (int64, bool) {
	value, ok := parseNumber(text, []unit{
		{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	})
	return int64(value), ok && value < 1<<53
}

// parseRatio reads a part of 1: 0.8, 80%.
func parseRatio(text string) (float64, bool) {
	return parseNumber(text, []unit{{"", 1}, {"%", 0.01}})
}

// parseDuration reads a sum of numbers with units: 500ms, 5s, 1h30m, 7d. A bare number has no unit and is refused, except for 0.
func parseDuration(text string) (time.Duration, bool) {
	if text == "0" {
		return 0, true
	}
	var total float64
	for rest := text; rest != ""; {
		number, tail := splitNumber(rest)
		end := strings.IndexFunc(tail, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(tail)
		}
		value, ok := parseNumber(number+tail[:end], []unit{
			{"ms", float64(time.Millisecond)}, {"s", float64(time.Second)}, {"m", float64(time.Minute)},
			{"h", float64(time.Hour)}, {"d", 24 * float64(time.Hour)},
		})
		if !ok {
			return 0, false
		}
		total += value
		rest = tail[end:]
	}
	return time.Duration(math.Round(total)), text != "" && total < 1<<62
}

// formatDuration writes a duration as an operator would: 10m, not 10m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// parseBool reads true and false, and the other words that people use for them.
func parseBool(text string) (value, ok bool) {
	switch text {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

// ParsePrefix reads a prefix in CIDR notation, or a bare address as a prefix of that one address. The prefix comes back masked,
// never IPv4-mapped; the error says what is wrong in words for whoever typed it, and names the prefix that was probably meant.
func ParsePrefix(text string) (netip.Prefix, error) {
	address, length, slash := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New(strconv.Quote(text) + " is not a network; expected CIDR such as 192.0.2.0/24 or 2001:db8::/32, or an address")
	case addr.Zone() != "":
		return netip.Prefix{}, errors.New(text + " has a zone; leave out %" + addr.Zone())
	case addr.Is4In6():
		return netip.Prefix{}, errors.New(text + " is an IPv4 address in IPv6 notation; write it as IPv4, starting with " + addr.Unmap().String())
	case !slash:
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	bits, err := strconv.ParseUint(length, 10, 16)
	if err != nil || length != strconv.FormatUint(bits, 10) {
		return netip.Prefix{}, errors.New(strconv.Quote(length) + " in " + strconv.Quote(text) + " is not a prefix length; expected a number such as 24")
	}
	if bits > uint64(addr.BitLen()) {
		return netip.Prefix{}, errors.New("prefix length " + length + " in " + text + " is too long; expected at most " + strconv.Itoa(addr.BitLen()))
	}
	prefix := netip.PrefixFrom(addr, int(bits))
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, errors.New(text + " has host bits set; did you mean " + masked.String() + "?")
	}
	return prefix, nil
}
