// Package gobgppb is what Weir says to GoBGP's gRPC API, generated from gobgp.proto.
package gobgppb
