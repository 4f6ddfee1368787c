// Package lab builds real networks out of namespaces and veth pairs and sends real traffic through them, for the demo, benchmarks and tests.
package lab

//go:generate go tool -modfile=../../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -tags linux flood ../../bpf/flood.c -- -O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu
