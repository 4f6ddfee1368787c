package netflow

import "fmt"

// Error is what is wrong with a datagram, and where in it.
type Error struct {
	Offset int // bytes from the beginning
	What   string
}

func (e *Error) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.What) }

func broken(offset int, format string, args ...any) error {
	return &Error{offset, fmt.Sprintf(format, args...)}
}
