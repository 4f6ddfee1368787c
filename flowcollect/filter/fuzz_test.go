package filter

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzScript: any text is a script or an error, and a script ends and breaks nothing, whatever it does.
func FuzzScript(f *testing.F) {
	paths, err := filepath.Glob("../../docs/filters/*.lua")
	if err != nil || len(paths) == 0 {
		f.Fatalf("got examples %v, %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, body := range []string{
		"return flow.src .. flow.dst", "while true do end", "for k, v in pairs(flow) do print(k, v) end", "return (flow.src):gsub('%d+', '%0')",
		"local t = {} t[1e9] = 1 t[#t + 1] = 2", "return setmetatable({}, {__index = flow, __concat = print}) .. 'x'", "return flow.bytes / 2", "goto x ::x::",
		"return ('x'):rep(1e6):find(('.-'):rep(9))", "return pcall(pcall, error, flow)", "return string.format('%5.1f %s', 1, flow)",
	} {
		f.Add("function netflow(flow) " + body + "\nend sflow = netflow")
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "f.lua")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LoadWith(path, Options{Timeout: time.Millisecond, LoadTimeout: 10 * time.Millisecond, Memory: 8 << 20})
		if err != nil {
			return
		}
		i := s.New()
		for range 3 {
			a, b := flow(), flow6()
			if a.Rate == 0 || i.Keep(a) && a.Rate == 0 || i.Keep(b) && b.Rate == 0 {
				t.Fatal("a record without a rate")
			}
		}
		got := s.Stats()
		if got.Dropped+got.Errors+got.Runaways > got.Calls+1 || got.Calls > 6 {
			t.Errorf("%+v", got)
		}
	})
}
