#!/bin/sh
# Writes pluginpb/*.pb.go and pluginpb/pluginpbconnect from pluginpb/plugin.proto.
# Needs Debian's protobuf-compiler and libprotobuf-dev (for google/protobuf/*.proto). The plug-ins are those of the tools module, built from
# the module cache; without that module, those on $PATH. An argument names another output folder: the test compares it with what is committed.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
out=${1:-$root}

plugin() {
	if grep -q "/$1\$" "$root/tools/go.mod" 2>/dev/null; then
		go -C "$root/tools" tool -n "$1"
	else
		command -v "$1" || { echo "generate plug-in API: no $1: neither tools/go.mod nor \$PATH has it" >&2; return 1; }
	fi
}

command -v protoc >/dev/null || { echo "generate plug-in API: no protoc: apt-get install protobuf-compiler libprotobuf-dev" >&2; exit 1; }
go_plugin=$(plugin protoc-gen-go)
connect_plugin=$(plugin protoc-gen-connect-go)
cd "$root"
exec protoc -I userspace/plugin -I /usr/include \
	--plugin=protoc-gen-go="$go_plugin" --go_out="$out" --go_opt=module=weir \
	--plugin=protoc-gen-connect-go="$connect_plugin" --connect-go_out="$out" --connect-go_opt=module=weir \
	pluginpb/plugin.proto
