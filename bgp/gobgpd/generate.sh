#!/bin/sh
# Writes gobgppb/gobgp.pb.go from gobgppb/gobgp.proto. Needs Debian's protobuf-compiler; the plug-in is that of the tools module.
# An argument names another output folder: the test compares it with what is committed.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$here/../..
command -v protoc >/dev/null || { echo "generate GoBGP messages: no protoc: apt-get install protobuf-compiler" >&2; exit 1; }
plugin=$(go -C "$root/tools" tool -n protoc-gen-go)
cd "$root"
exec protoc -I bgp/gobgpd --plugin=protoc-gen-go="$plugin" --go_out="${1:-$root}" --go_opt=module=weir gobgppb/gobgp.proto
