#!/bin/sh
# Builds the server that speaks MongoDB's protocol in tests, into the user's cache, unless it is there: some minutes' work, once.
#   tools/ferretdb.sh         builds it and prints where it is
#   tools/ferretdb.sh --path  prints where it would be
set -eu
cd "$(dirname "$0")/../tests/ferretdb"

# Another program has another name: what it is made of is in it.
made_of=$({ cat main.go go.mod go.sum; go version; } | cksum | tr ' ' -)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/weir/ferretdb
path=$folder/ferretdb-$made_of
if [ "${1:-}" != --path ] && [ ! -x "$path" ]; then
	mkdir -p "$folder"
	echo "ferretdb: building; this may take two minutes" >&2
	# Only whole ones are found.
	CGO_ENABLED=0 GOOS= GOARCH= GOWORK=off GOFLAGS='-mod=readonly -buildvcs=false' go build -o "$path.$$" .
	mv "$path.$$" "$path"
fi
echo "$path"
