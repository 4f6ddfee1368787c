// Package pluginpb is the messages of the plug-in API, generated from plugin.proto.
package pluginpb
