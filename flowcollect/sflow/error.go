package sflow

import "fmt"

// Error is what is wrong with a datagram, and where in it.
type Error struct {
	Offset int // bytes from the beginning
	What   string
}

func (e *Error) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.What) }

func fail(at int, what string, args ...any) error { return &Error{at, fmt.Sprintf(what, args...)} }

// short is the error of a datagram that ends within something.
func short(at int, what string) error { return fail(at, "the datagram ends within %s", what) }

// beyond is the error of something that is longer than what it is in.
func beyond(at int, what string, length uint32, left int) error {
	return fail(at, "%s of %d bytes where %d are left", what, length, left)
}
