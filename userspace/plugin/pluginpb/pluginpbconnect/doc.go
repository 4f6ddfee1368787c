// Package pluginpbconnect is the plug-in API's client and handler over gRPC, gRPC-Web and JSON, generated from plugin.proto.
package pluginpbconnect
