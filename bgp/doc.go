// Package bgp announces routes to BGP peers from a supervised child process, so that nothing a peer sends can touch the process that detects.
//
// The parent has a Speaker: it holds what is to be announced, decides which peer is told what, and keeps a child running. The child,
// which is the same binary and enters by Child, has one GoBGP server for each peer, so that each peer has its own table. Peers are
// never connected to GoBGP itself. The child holds the TCP connection (TCP-MD5, TTL, source address) and passes messages on: to the
// peer all that GoBGP says; to GoBGP only OPEN, KEEPALIVE and ROUTE-REFRESH, checked and written anew. An UPDATE of a peer is counted
// and dropped: nothing is imported, a full table takes no memory, and a malformed one meets no parser.
package bgp
