#!/bin/sh
# Runs every fuzz test of the module for a while: tools/fuzz.sh DURATION [PACKAGES]
set -eu
duration=$1
shift
packages=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "${@:-./...}")
echo "$packages" | while read -r package directory; do
	grep -hEo '^func Fuzz[A-Za-z0-9_]*' "$directory"/*_test.go | while read -r _ name; do
		echo "$package $name"
		go test -run '^$' -fuzz "^$name\$" -fuzztime "$duration" "$package" </dev/null
	done
done
