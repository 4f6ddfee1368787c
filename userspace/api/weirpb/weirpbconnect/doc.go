// Package weirpbconnect is the API's client and handler over gRPC, gRPC-Web and JSON, generated from weir.proto.
package weirpbconnect
