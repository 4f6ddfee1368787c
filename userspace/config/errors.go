package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors is how many errors one Parse reports: enough to see a pattern, few enough to read after a binary file was named by mistake.
const maxErrors = 1000

// Error is one thing that is wrong and its place.
type Error struct {
	File         string // as the operator named it
	Line, Column int    // from 1, the column in characters
	Message      string
}

// Error returns "file:line:column: message".
func (e Error) Error() string {
	return fmt.Sprintf("%s: %s", place{e.File, e.Line, e.Column}, e.Message)
}

// Errors is everything that is wrong with a configuration, in the order of its places; it is never empty when returned as an error.
type Errors []Error

// Error returns one line per error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// place is where something stands: line and column count from 1.
type place struct {
	file         string
	line, column int
}

func (p place) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// inOrder sorts by place, the main file before its list files, and cuts off what nobody would read.
func (e Errors) inOrder(main string) Errors {
	slices.SortStableFunc(e, func(a, b Error) int {
		if aIsMain, bIsMain := a.File == main, b.File == main; aIsMain != bIsMain {
			if aIsMain {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(e) <= maxErrors {
		return e
	}
	last := e[maxErrors-1]
	last.Message = fmt.Sprintf("and %d more errors, the first of them: %s", len(e)-maxErrors+1, last.Message)
	return append(e[:maxErrors-1:maxErrors-1], last)
}
