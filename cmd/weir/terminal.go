package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// terminal is where a command prints.
type terminal struct {
	out, err io.Writer
	colour   bool // out shows colours
}

// colourful reports whether f is a terminal on which colours are wanted (https://no-color.org).
func colourful(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// style is a colour by its meaning: the number of the ANSI escape sequence, 0 for none.
type style int

const (
	plain style = 0
	head  style = 1  // bold
	bad   style = 31 // red
	good  style = 32 // green
	warn  style = 33 // yellow
)

// cell is one field of a table.
type cell struct {
	text  string
	style style
	right bool // a number
}

func text(s string) cell   { return cell{text: printable(s)} }
func number(s string) cell { return cell{text: s, right: true} }

func (c cell) in(s style) cell { c.style = s; return c }

// printable makes what came from elsewhere harmless to a terminal, and visible when it is nothing.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

// table prints rows under a header, columns as wide as their widest field and two spaces apart.
func (t terminal) table(header []string, rows [][]cell) error {
	titles := make([]cell, len(header))
	for i, name := range header {
		titles[i] = cell{text: name, style: head, right: len(rows) > 0 && rows[0][i].right}
	}
	rows = append([][]cell{titles}, rows...)
	width := make([]int, len(header))
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, c := range row {
			gap := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.text))
			if i > 0 {
				b.WriteString("  ")
			}
			switch {
			case c.right:
				b.WriteString(gap + t.paint(c))
			case i == len(row)-1:
				b.WriteString(t.paint(c))
			default:
				b.WriteString(t.paint(c) + gap)
			}
		}
		b.WriteByte('\n')
	}
	return t.print("%s", b.String())
}

func (t terminal) paint(c cell) string {
	if !t.colour || c.style == plain {
		return c.text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c.style, c.text)
}

func (t terminal) print(format string, args ...any) error {
	if _, err := fmt.Fprintf(t.out, format, args...); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// si writes a number with three significant digits and a decimal prefix: 950, 1.23k, 45.6M.
func si(v float64) string {
	for _, unit := range [...]string{"", "k", "M", "G", "T"} {
		switch {
		case v < 999.5 && unit == "":
			return fmt.Sprintf("%.0f", v)
		case v < 9.995:
			return fmt.Sprintf("%.2f%s", v, unit)
		case v < 99.95:
			return fmt.Sprintf("%.1f%s", v, unit)
		case v < 999.5:
			return fmt.Sprintf("%.0f%s", v, unit)
		}
		v /= 1000
	}
	return fmt.Sprintf("%.3gP", v)
}

// when writes a moment in the reader's own time zone, or "-".
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
