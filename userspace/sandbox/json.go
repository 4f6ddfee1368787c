package sandbox

import (
	"encoding/json"

	lua "github.com/yuin/gopher-lua"
)

// maxPromptJSON is the longest text that is decoded while somebody waits.
const maxPromptJSON = 1 << 15

// decodeJSON turns a JSON text into Lua's values. null is nil: what has it does not exist.
func (s *libraries) decodeJSON(l *lua.LState) int {
	text := l.CheckString(1)
	if s.script.o.Prompt && !s.loading && len(text) > maxPromptJSON { // decoding cannot be stopped
		l.RaiseError("decode JSON: %d bytes are too long in a function that is called; expected at most %d", len(text), maxPromptJSON)
	}
	s.fuel.charge(len(text))
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		l.RaiseError("decode JSON: %s", err.Error())
	}
	l.Push(jsonValue(l, v))
	return 1
}

func jsonValue(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	case []any:
		t := l.NewTable()
		for _, one := range v {
			t.Append(jsonValue(l, one))
		}
		return t
	case map[string]any:
		t := l.NewTable()
		for key, one := range v {
			t.RawSetString(key, jsonValue(l, one))
		}
		return t
	}
	return lua.LNil
}
