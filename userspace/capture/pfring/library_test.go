package pfring

import (
	"strings"
	"testing"
)

// A device of the library is refused with what to do about it, whether or not the library is built in: no machine for tests has it.
func TestLibraryIsMissing(t *testing.T) {
	_, err := Open(Options{Interface: "zc:none0"})
	if err == nil {
		t.Fatal("zc:none0 was opened")
	}
	for _, want := range []string{"build Weir with the tag libpfring", "install ntop's pfring package", "refused by libpfring"} {
		if strings.Contains(err.Error(), want) {
			return
		}
	}
	t.Errorf("got %v", err)
}
