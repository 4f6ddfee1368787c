package need

import (
	"fmt"
	"testing"
)

// outcome is how a test ended: Fatalf and Skipf do not return, so the recorder leaves by a panic of its own.
type outcome string

type recorder struct{ testing.TB }

func (recorder) Helper() {}
func (recorder) Fatalf(format string, args ...any) {
	panic(outcome("fail: " + fmt.Sprintf(format, args...)))
}
func (recorder) Skipf(format string, args ...any) {
	panic(outcome("skip: " + fmt.Sprintf(format, args...)))
}

func ending(f func(testing.TB)) (end outcome) {
	defer func() {
		if r := recover(); r != nil {
			end = r.(outcome)
		}
	}()
	f(recorder{})
	return "went on"
}

func TestMissing(t *testing.T) {
	for _, tt := range []struct{ ci, want string }{
		{"", "skip: no eth7"},
		{"0", "skip: no eth7"},
		{"false", "skip: no eth7"},
		{"true", "fail: no eth7"},
		{"1", "fail: no eth7"},
	} {
		t.Run("CI="+tt.ci, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			if got := ending(func(tb testing.TB) { Missing(tb, "no %s", "eth7") }); string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTool(t *testing.T) {
	t.Setenv("CI", "true")
	if got := ending(func(tb testing.TB) { Tool(tb, "go", "golang") }); got != "went on" {
		t.Errorf("go itself is missing: %s", got)
	}
	const want = `fail: find no-such-tool: exec: "no-such-tool": executable file not found in $PATH; install it by: apt-get install nothing`
	if got := ending(func(tb testing.TB) { Tool(tb, "no-such-tool", "nothing") }); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
