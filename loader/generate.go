package loader

// The objects are committed, so that building needs no clang. UAPI headers come from the distribution (linux-libc-dev).
//go:generate go tool -modfile=../tools/go.mod bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package loader weir ../bpf/weir.c -- -O2 -g -Wall -Werror -I/usr/include/x86_64-linux-gnu
