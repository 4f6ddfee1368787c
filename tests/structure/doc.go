// Package structure holds the tests that keep the code's shape: which package imports which, what a file may hold, what the core may not touch.
package structure
