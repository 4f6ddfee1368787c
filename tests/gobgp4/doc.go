// Package gobgp4 is a module of its own for GoBGP 4, so that Weir does not depend on it: tests build gobgpd here and compare its API
// with the messages that Weir sends. It holds no code itself.
package gobgp4
