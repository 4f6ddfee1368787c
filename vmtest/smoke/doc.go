// Package smoke asks a kernel for what Weir builds on: what every kernel must have fails where it is missing, what some have is skipped there.
package smoke
