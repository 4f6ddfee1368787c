package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"weir/bgp"
)

// TestMain makes the test binary the speaker of the daemons that tests run, as cmd/weir is of its own.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "bgp-speaker" {
		if err := bgp.Child(context.Background(), os.NewFile(3, "daemon"), slog.New(slog.NewJSONHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
