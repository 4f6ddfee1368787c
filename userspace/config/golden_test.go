package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the .out files anew")

// readTestdata reads list files from testdata, which relative paths of the golden files start from.
func readTestdata(path string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata", path)) }

// TestErrors holds the messages of testdata/err/NAME.yaml against NAME.out: what operators read is the product.
func TestErrors(t *testing.T) {
	paths, err := filepath.Glob("testdata/err/*.yaml")
	if err != nil || len(paths) < 30 {
		t.Fatalf("got %d golden files (%v), want at least 30", len(paths), err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(name, data, readTestdata)
			var errs Errors
			if !errors.As(err, &errs) || c != nil {
				t.Fatalf("got %v, %v, want no configuration and Errors", c, err)
			}
			got, golden := err.Error()+"\n", strings.TrimSuffix(path, ".yaml")+".out"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, string(want)); diff != "" {
				t.Errorf("(-got +want)\n%s", diff)
			}
			for _, e := range errs {
				if e.File == "" || e.Line < 1 || e.Column < 1 || e.Message == "" {
					t.Errorf("got an error without its place: %+v", e)
				}
			}
		})
	}
}
