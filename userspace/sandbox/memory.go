package sandbox

import (
	"reflect"

	lua "github.com/yuin/gopher-lua"
)

// What values take, in bytes: estimates of the interpreter's own structures.
const (
	tableBytes    = 160
	entryBytes    = 16
	keyedBytes    = 100 // in a map, in the list of keys and in the map from key to its place
	functionBytes = 96
	textBytes     = 16
)

// census adds up what can be reached from a script's variables.
type census struct {
	bytes, limit int
	seen         map[lua.LValue]struct{}
	todo         []lua.LValue
}

// weigh estimates how many bytes a script's variables take. It stops beyond the limit.
func weigh(l *lua.LState, limit int) int {
	c := &census{limit: limit, seen: map[lua.LValue]struct{}{}}
	c.add(l.G.Global)
	for len(c.todo) > 0 && c.bytes <= c.limit {
		last := len(c.todo) - 1
		v := c.todo[last]
		c.todo = c.todo[:last]
		c.look(v)
	}
	return c.bytes
}

// add counts a value, and remembers to look into it.
func (c *census) add(v lua.LValue) {
	switch v := v.(type) {
	case lua.LString:
		c.bytes += textBytes + len(v)
	case *lua.LTable, *lua.LFunction, *lua.LUserData:
		if _, ok := c.seen[v]; !ok {
			c.seen[v] = struct{}{}
			c.todo = append(c.todo, v)
		}
	}
}

func (c *census) look(v lua.LValue) {
	switch v := v.(type) {
	case *lua.LTable:
		c.bytes += tableBytes + sizeOf(v, "array")*entryBytes + sizeOf(v, "keys")*keyedBytes
		v.ForEach(func(key, value lua.LValue) {
			if c.bytes <= c.limit {
				c.add(key)
				c.add(value)
			}
		})
		if v.Metatable != nil {
			c.add(v.Metatable)
		}
	case *lua.LFunction:
		c.bytes += functionBytes
		for _, u := range v.Upvalues {
			if u != nil {
				c.add(u.Value())
			}
		}
	case *lua.LUserData:
		if s, ok := v.Value.(*networks); ok {
			c.bytes += s.bytes()
		}
		if v.Metatable != nil {
			c.add(v.Metatable)
		}
	}
}

// sizeOf is how many entries one of a table's own lists has: also those whose values are gone, which the interpreter never forgets.
func sizeOf(t *lua.LTable, list string) int {
	if v := reflect.ValueOf(t).Elem().FieldByName(list); v.IsValid() {
		return v.Len()
	}
	return 0
}
