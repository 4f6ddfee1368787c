package metrics

import "slices"

// bgp serves the receivers of routes and, when one of them is a BGP peer, the speaker: without peers there is none to be missed.
func (s scrape) bgp(now *Snapshot) {
	if slices.ContainsFunc(now.BGP, func(p BGPPeer) bool { return p.Kind == "peer" }) {
		s.flag(bgpSpeakerUp, now.BGPSpeakerUp)
		s.put(bgpSpeakerRestarts, float64(now.BGPSpeakerRestarts))
	}
	for i := range now.BGP[:min(len(now.BGP), MaxBGPPeers)] {
		p := &now.BGP[i]
		s.flag(bgpSessionUp, p.Established, p.Name, p.Kind)
		s.put(bgpSessionUps, float64(p.Ups), p.Name, p.Kind)
		for family, n := range p.Routes {
			s.put(bgpRoutes, float64(n), p.Name, p.Kind, family)
		}
		for family, n := range p.Refused {
			s.put(bgpRoutesRefused, float64(n), p.Name, p.Kind, family)
		}
		s.put(bgpMessages, float64(p.Sent), p.Name, p.Kind, "sent")
		s.put(bgpMessages, float64(p.Received), p.Name, p.Kind, "received")
	}
}
