package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Load reads and validates the file at path and the list files that it names. An invalid file is an Errors; any other error means that
// path itself could not be read. Besides what Parse warns of, Load warns of a notify script that cannot be run.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", path, cause(err))
	}
	return parse(path, data, os.ReadFile, os.Stat)
}

// Parse validates data, which is called name in errors and whose folder relative paths start from. List files are read by readFile.
// The result is a Config or an Errors, never both.
func Parse(name string, data []byte, readFile func(string) ([]byte, error)) (*Config, error) {
	return parse(name, data, readFile, nil)
}

func parse(name string, data []byte, readFile func(string) ([]byte, error), stat func(string) (fs.FileInfo, error)) (*Config, error) {
	d := &decoder{name: name, readFile: readFile, stat: stat, lists: map[string][]placed{}}
	c := Default()
	if root, ok := d.document(data); ok {
		d.config(c, root)
	}
	if len(d.errs) > 0 {
		return nil, d.errs.inOrder(name)
	}
	c.Warnings, c.Places = d.warnings.inOrder(name), d.sinks
	return c, nil
}

// cause strips the operation and path that os functions put before what went wrong: the message around it names them already.
func cause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}
