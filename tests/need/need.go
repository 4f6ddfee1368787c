// Package need lets a test say what it requires: what is missing skips the test on a laptop and fails it in CI.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// CI reports whether the environment variable CI is set to something other than "", "0" and "false".
func CI() bool {
	switch os.Getenv("CI") {
	case "", "0", "false":
		return false
	}
	return true
}

// Missing ends the test, as skipped or, in CI, as failed: a suite that was skipped there would look green without having run.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if CI() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Root requires the effective user root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "this test needs root: run it by sudo")
	}
}

// Tool requires a program in PATH and returns where it is; debianPackage is what to install where it is not.
func Tool(t testing.TB, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "find %s: %v; install it by: apt-get install %s", name, err, debianPackage)
	}
	return path
}
