package api

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"weir/userspace/api/weirpb"
	"weir/userspace/traffic"
)

// What an order to announce may say.
const (
	maxCommunities = 64
	maxOrderPeers  = 256
)

func announceIn(m *weirpb.BgpAnnounceRequest) (order AnnounceOrder, err error) {
	if order.Communities, err = communitiesIn(m.GetCommunities()); err != nil {
		return order, err
	}
	if order.Peers, err = peersIn(m.GetPeers()); err != nil {
		return order, err
	}
	if m.GetRule() != "" {
		return order, ruleIn(&order, m)
	}
	if order.Prefix, err = prefixIn("prefix", m.GetPrefix()); err != nil {
		return order, err
	}
	if order.Action = m.GetAction(); order.Action != "" {
		if m.GetNextHop() != "" || len(order.Communities) > 0 || len(order.Peers) > 0 {
			return order, fmt.Errorf("announce %s by action %q: the action itself says next hop, communities and peers; expected none of them beside it", order.Prefix, clip(order.Action))
		}
		return order, nil
	}
	if m.GetNextHop() == "" {
		return order, fmt.Errorf("announce %s: expected an action, or a next hop", order.Prefix)
	}
	order.NextHop, err = nextHopIn(m.GetNextHop(), order.Prefix)
	return order, err
}

// ruleIn reads the order to announce a rule, in canonical text.
func ruleIn(order *AnnounceOrder, m *weirpb.BgpAnnounceRequest) error {
	if m.GetPrefix() != "" || m.GetAction() != "" || m.GetNextHop() != "" {
		return errors.New("announce a rule: expected no prefix, action or next hop beside it")
	}
	rule, err := traffic.ParseRule(m.GetRule())
	if err != nil {
		return fmt.Errorf("rule: %w", err)
	}
	order.Rule = rule.String()
	return nil
}

func nextHopIn(text string, prefix netip.Prefix) (netip.Addr, error) {
	hop, err := netip.ParseAddr(text)
	if hop = hop.Unmap(); err != nil || hop.Zone() != "" || hop.IsUnspecified() || hop.Is4() != prefix.Addr().Is4() {
		version := "IPv6"
		if prefix.Addr().Is4() {
			version = "IPv4"
		}
		return netip.Addr{}, fmt.Errorf("next_hop %q: expected an %s address, as %s is", clip(text), version, prefix)
	}
	return hop, nil
}

func peersIn(names []string) ([]string, error) {
	if len(names) > maxOrderPeers {
		return nil, fmt.Errorf("peers: expected at most %d", maxOrderPeers)
	}
	for _, name := range names {
		if name == "" {
			return nil, errors.New("peers: expected names, one is empty")
		}
	}
	return names, nil
}

func communitiesIn(texts []string) ([]uint32, error) {
	if len(texts) > maxCommunities {
		return nil, fmt.Errorf("communities: expected at most %d", maxCommunities)
	}
	var out []uint32
	for _, text := range texts {
		c, ok := communityIn(text)
		if !ok {
			return nil, fmt.Errorf("community %q: expected one such as 65535:666, blackhole or no-export", clip(text))
		}
		out = append(out, c)
	}
	return out, nil
}

// communityIn reads a community (RFC 1997) as the configuration writes it: AS:VALUE, or one of IANA's "BGP Well-known Communities".
func communityIn(text string) (uint32, bool) {
	switch text {
	case "blackhole": // RFC 7999
		return 0xFFFF029A, true
	case "no-export":
		return 0xFFFFFF01, true
	case "no-advertise":
		return 0xFFFFFF02, true
	case "no-export-subconfed":
		return 0xFFFFFF03, true
	case "no-peer": // RFC 3765
		return 0xFFFFFF04, true
	}
	left, right, _ := strings.Cut(text, ":")
	as, err := strconv.ParseUint(left, 10, 16)
	if err != nil {
		return 0, false
	}
	value, err := strconv.ParseUint(right, 10, 16)
	if err != nil {
		return 0, false
	}
	return uint32(as)<<16 | uint32(value), true
}

// withdrawIn reads what is to be withdrawn. A prefix or rule becomes the canonical text that it was announced under;
// anything else can only be a key, which the daemon knows or does not.
func withdrawIn(m *weirpb.BgpWithdrawRequest) (WithdrawOrder, error) {
	text := strings.TrimSpace(m.GetRoute())
	if text == "" {
		return WithdrawOrder{}, errors.New("withdraw: expected a prefix, a rule, or the key of an announcement")
	}
	_, notAddress := netip.ParseAddr(text)
	_, notPrefix := netip.ParsePrefix(text)
	if notAddress == nil || notPrefix == nil {
		prefix, err := prefixIn("route", text)
		return WithdrawOrder{Text: prefix.String()}, err
	}
	if rule, err := traffic.ParseRule(text); err == nil {
		text = rule.String()
	}
	return WithdrawOrder{Text: text}, nil
}
