package bgp_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"weir/bgp"
)

// TestMain makes the test binary its own speaker, as cmd/weir is.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "bgp-speaker" {
		log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if err := bgp.Child(context.Background(), os.NewFile(3, "control"), log); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}
