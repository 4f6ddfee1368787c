// Package weirpb is the API's messages, generated from weir.proto.
package weirpb
