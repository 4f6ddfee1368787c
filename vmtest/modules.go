package vmtest

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is one kernel module, unpacked.
type module struct {
	name string
	data []byte
}

// findModules returns the named modules of an unpacked kernel package and what they depend on, in the order in which they
// can be inserted, and the names that the kernel does not have as modules: they are built in, or missing from it.
func findModules(root string, names []string) (ordered []module, absent []string, err error) {
	files := map[string]string{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base, _, found := strings.Cut(d.Name(), ".ko"); found && d.Type().IsRegular() {
			files[moduleName(base)] = path
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list kernel modules: %w", err)
	}
	done := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		if done[name] {
			return nil
		}
		done[name] = true
		path, found := files[name]
		if !found {
			absent = append(absent, name)
			return nil
		}
		data, err := readModule(path)
		if err != nil {
			return err
		}
		depends, err := moduleDepends(data)
		if err != nil {
			return fmt.Errorf("read kernel module %s: %w", path, err)
		}
		for _, d := range depends {
			if err := add(d); err != nil {
				return err
			}
		}
		ordered = append(ordered, module{name: name, data: data})
		return nil
	}
	for _, n := range names {
		if err := add(moduleName(n)); err != nil {
			return nil, nil, err
		}
	}
	return ordered, absent, nil
}

// moduleName is the name as the kernel has it: file names may have dashes.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// readModule unpacks what Debian packs since 6.12: older kernels only take modules as they are.
func readModule(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return os.ReadFile(path)
	}
	out, err := exec.Command("xz", "-dc", path).Output()
	if err != nil {
		return nil, fmt.Errorf("unpack kernel module %s: %w", path, err)
	}
	return out, nil
}

// moduleDepends reads the list "depends=a,b" among the zero-terminated strings of the section .modinfo.
func moduleDepends(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var depends []string
	for field := range strings.SplitSeq(string(info), "\x00") {
		list, found := strings.CutPrefix(field, "depends=")
		if !found {
			continue
		}
		for d := range strings.SplitSeq(list, ",") {
			if d != "" {
				depends = append(depends, moduleName(d))
			}
		}
	}
	return depends, nil
}
