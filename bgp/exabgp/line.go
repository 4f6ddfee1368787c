package exabgp

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"weir/userspace/traffic"
)

// statements turns announcements into wishes, in their order, and says which cannot be told to ExaBGP.
func (o *Options) statements(announcements []traffic.Announcement) (wishes []wish, refused []Refused) {
	at := map[string]int{}
	for _, a := range announcements {
		targets := o.targets(a.Peers)
		if len(targets) == 0 {
			continue
		}
		key, made, err := o.wish(a, targets)
		if err != nil {
			refused = append(refused, Refused{Key: a.Key(), Reason: err.Error()})
			continue
		}
		i, known := at[key]
		if !known {
			i = len(wishes)
			at[key] = i
			wishes = append(wishes, wish{key: key, targets: map[string]statement{}})
		}
		for target, s := range made {
			wishes[i].targets[target] = s
		}
	}
	return wishes, refused
}

// targets are those of an announcement's peers that are neighbors of this ExaBGP, by address; everybody alone stands for all.
func (o *Options) targets(peers []string) []string {
	if len(peers) == 0 || slices.Contains(peers, o.Name) {
		return []string{everybody}
	}
	var targets []string
	for _, name := range peers {
		if addr, ours := o.Neighbors[name]; ours {
			targets = append(targets, addr.String())
		}
	}
	return targets
}

func (o *Options) wish(a traffic.Announcement, targets []string) (key string, made map[string]statement, err error) {
	key, announce, withdraw, err := o.commands(a)
	if err != nil {
		return "", nil, err
	}
	made = make(map[string]statement, len(targets))
	for _, target := range targets {
		to := ""
		if target != everybody {
			to = "neighbor " + target + " "
		}
		s := statement{announce: to + "announce " + announce, withdraw: to + "withdraw " + withdraw}
		if max(len(s.announce), len(s.withdraw)) >= pipeBuffer {
			return "", nil, fmt.Errorf("its line is longer than %d bytes, which is what a pipe takes in one piece", pipeBuffer-1)
		}
		made[target] = s
	}
	return key, made, nil
}

// commands returns what follows the words announce and withdraw; key is the same for what replaces one another in ExaBGP.
func (o *Options) commands(a traffic.Announcement) (key, announce, withdraw string, err error) {
	if a.Rule != nil {
		return o.flow(a)
	}
	p := a.Prefix
	if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
		return "", "", "", fmt.Errorf("%s is no prefix: its address has bits beyond its length, or is IPv4 written as IPv6", p)
	}
	if !a.NextHop.IsValid() || a.NextHop.Is4() != p.Addr().Is4() || a.NextHop.Is4In6() || a.NextHop.Zone() != "" {
		return "", "", "", fmt.Errorf("%s needs a next hop of its own family, and has %s", p, a.NextHop)
	}
	attributes, err := o.attributes(a)
	if err != nil {
		return "", "", "", err
	}
	withdraw = "route " + p.String() + " next-hop " + a.NextHop.String()
	return "route " + p.String(), withdraw + attributes, withdraw, nil
}

// attributes are the words after the next hop, each with a space before it: communities first, as FastNetMon has them.
func (o *Options) attributes(a traffic.Announcement) (string, error) {
	b := strings.Join(communities(a), "")
	if a.LocalPref != nil {
		b += fmt.Sprintf(" local-preference %d", *a.LocalPref)
	}
	if a.MED != nil {
		b += fmt.Sprintf(" med %d", *a.MED)
	}
	if a.Prepend < 0 {
		return "", fmt.Errorf("cannot prepend the AS %d times", a.Prepend)
	}
	if a.Prepend > 0 {
		if o.AS == 0 {
			return "", errors.New("cannot prepend: the AS of this ExaBGP is not known: set it beside the pipe's path")
		}
		// ExaBGP sends a path that is given to it as it is: its own number stands there once more.
		b += " as-path [" + strings.TrimSpace(strings.Repeat(fmt.Sprintf(" %d", o.AS), a.Prepend+1)) + "]"
	}
	return b, nil
}

// communities are the words for an announcement's communities of each kind, with a space before them. Extended ones are written
// as their eight bytes.
func communities(a traffic.Announcement) []string {
	var standard, large, extended []string
	for _, c := range a.Communities {
		standard = append(standard, fmt.Sprintf("%d:%d", c>>16, c&0xffff))
	}
	for _, c := range a.LargeCommunities {
		large = append(large, fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]))
	}
	for _, c := range a.ExtendedCommunities {
		extended = append(extended, fmt.Sprintf("0x%x", c))
	}
	var lists []string
	for _, l := range []struct {
		word  string
		items []string
	}{{"community", standard}, {"large-community", large}, {"extended-community", extended}} {
		if len(l.items) > 0 {
			lists = append(lists, " "+l.word+" ["+strings.Join(l.items, " ")+"]")
		}
	}
	return lists
}
