package traffic

// Count is a number of packets and their frame bytes.
type Count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Counts is what was counted for one host, prefix or hostgroup in one direction, over whatever time its owner says.
// TCP, UDP and ICMP are parts of Total; TCPSYN is part of TCP; Fragments and Dropped cut across.
// Total.Packets less Unseen is how many packets were really looked at.
type Counts struct {
	Total     Count  `json:"total"`
	Flows     uint64 `json:"flows"`
	TCP       Count  `json:"tcp"`
	UDP       Count  `json:"udp"`
	ICMP      Count  `json:"icmp"`
	TCPSYN    Count  `json:"tcp_syn"`
	Fragments Count  `json:"fragments"`
	Dropped   Count  `json:"dropped"`
	Unseen    uint64 `json:"unseen,omitempty"` // packets of Total that nobody saw: inferred from samples that stand for them
}

func (c *Count) add(o Count) { c.Packets += o.Packets; c.Bytes += o.Bytes }
func (c *Count) sub(o Count) { c.Packets -= o.Packets; c.Bytes -= o.Bytes }

// Add adds o to c.
func (c *Counts) Add(o *Counts) {
	c.Total.add(o.Total)
	c.Flows += o.Flows
	c.TCP.add(o.TCP)
	c.UDP.add(o.UDP)
	c.ICMP.add(o.ICMP)
	c.TCPSYN.add(o.TCPSYN)
	c.Fragments.add(o.Fragments)
	c.Dropped.add(o.Dropped)
	c.Unseen += o.Unseen
}

// Sub takes o, counted before and part of c, off c.
func (c *Counts) Sub(o *Counts) {
	c.Total.sub(o.Total)
	c.Flows -= o.Flows
	c.TCP.sub(o.TCP)
	c.UDP.sub(o.UDP)
	c.ICMP.sub(o.ICMP)
	c.TCPSYN.sub(o.TCPSYN)
	c.Fragments.sub(o.Fragments)
	c.Dropped.sub(o.Dropped)
	c.Unseen -= o.Unseen
}

// Zero reports whether nothing was counted.
func (c *Counts) Zero() bool { return c.Total.Packets == 0 && c.Flows == 0 }
