//go:build !linux

// Command init is the first process of a vmtest guest, which is always Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "vmtest: init runs only as the first process of a Linux guest")
	os.Exit(1)
}
