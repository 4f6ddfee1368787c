package sandbox

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// TestPatternsAgree holds the matcher against the interpreter's own, with patterns and texts by chance.
func TestPatternsAgree(t *testing.T) {
	own := lua.NewState()
	defer own.Close()
	x := stateOf(t, "", Options{})
	items := []string{"a", "b", ".", "%d", "%a", "[ab]", "[^a]", "%.", "[a-c1]", "%W"}
	suffixes := []string{"", "", "", "*", "+", "-", "?"}
	random := rand.New(rand.NewPCG(3, 4))
	of := func(list []string) string { return list[random.IntN(len(list))] }
	matched := 0
	for n := range 20000 {
		var pattern, text strings.Builder
		if random.IntN(4) == 0 {
			pattern.WriteByte('^')
		}
		captured := random.IntN(3) == 0
		if captured {
			pattern.WriteByte('(')
		}
		for range 1 + random.IntN(3) {
			pattern.WriteString(of(items) + of(suffixes))
		}
		if captured {
			pattern.WriteByte(')')
		}
		pattern.WriteString(of(items))
		if random.IntN(4) == 0 {
			pattern.WriteByte('$')
		}
		for range random.IntN(8) {
			text.WriteByte("ab1.c"[random.IntN(5)])
		}
		script := fmt.Sprintf("local a, b, c = (%q):find(%q) return tostring(a) .. ' ' .. tostring(b) .. ' ' .. tostring(c)", text.String(), pattern.String())
		want, err := result(own, script, false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := result(x.lua, script, true)
		if err != nil || got != want {
			t.Fatalf("round %d: %s\n got %s, %v\nwant %s", n, script, got, err, want)
		}
		if !strings.HasPrefix(got, "nil") {
			matched++
		}
	}
	if matched < 5000 {
		t.Errorf("only %d patterns matched", matched)
	}
}

// result runs a script of one line.
func result(l *lua.LState, script string, ours bool) (string, error) {
	var fn *lua.LFunction
	if ours {
		proto, _, err := compile(script, "x")
		if err != nil {
			return "", err
		}
		if f, ok := l.Context().(*fuel); ok {
			f.fill(time.Minute)
		}
		fn = l.NewFunctionFromProto(proto)
	} else {
		var err error
		if fn, err = l.LoadString(script); err != nil {
			return "", err
		}
	}
	l.Push(fn)
	if err := l.PCall(0, 1, nil); err != nil {
		return "", err
	}
	defer l.Pop(1)
	return lua.LVAsString(l.Get(-1)), nil
}

// FuzzPattern: any pattern and text is matched or refused, inside the text.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{"^(%d+)%.", "%b()", "%f[%a]", "[^%]a-c]*", "(a*(.)%w(%s*))", "%1", "[", "%", "(()", ".-b", "[]", "[a-", "[%"} {
		f.Add("a(b)c 1.2", p)
	}
	x := stateOf(f, "", Options{})
	f.Fuzz(func(t *testing.T, text, pattern string) {
		l := x.lua
		for name, arguments := range map[string][]string{"find": {text, pattern}, "match": {text, pattern}, "gsub": {text, pattern, "<%0>"}} {
			x.Begin(10 * time.Millisecond)
			l.Push(l.GetField(l.GetGlobal("string"), name))
			for _, a := range arguments {
				l.Push(lua.LString(a))
			}
			if l.PCall(len(arguments), 2, nil) != nil {
				continue
			}
			first, second := l.Get(-2), l.Get(-1)
			l.Pop(2)
			if begin, ok := first.(lua.LNumber); ok && name == "find" {
				if end, ok := second.(lua.LNumber); !ok || begin < 1 || end < begin-1 || int(end) > len(text) {
					t.Errorf("found from %v to %v in a text of %d bytes", first, second, len(text))
				}
			}
		}
	})
}
