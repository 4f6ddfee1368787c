package vmtest

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// external is a kernel module that is not of the kernel's packages.
type external struct {
	module
	release string   // of the only kernel that takes it, as uname -r has it
	depends []string // modules of that kernel
}

// findExternal reads the modules in a folder and in those below it: NAME.ko, for one kernel or, in folders of their own, for several.
func findExternal(dir string) ([]external, error) {
	var all []external
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, isModule := strings.CutSuffix(strings.TrimSuffix(d.Name(), ".xz"), ".ko")
		if !isModule || d.IsDir() {
			return nil
		}
		e := external{module: module{name: moduleName(name)}}
		if e.data, err = readModule(path); err != nil {
			return err
		}
		if e.depends, err = moduleDepends(e.data); err != nil {
			return fmt.Errorf("read kernel module %s: %w", path, err)
		}
		if e.release, err = moduleRelease(e.data); err != nil {
			return fmt.Errorf("read kernel module %s: %w", path, err)
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find modules: %w", err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("find modules: there is no NAME.ko in %s", dir)
	}
	return all, nil
}

// moduleRelease is the first word of "vermagic=..." in the section .modinfo: the release of the kernel that a module was built for.
func moduleRelease(data []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return "", errors.New("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return "", err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if magic, found := strings.CutPrefix(field, "vermagic="); found {
			release, _, _ := strings.Cut(magic, " ")
			return release, nil
		}
	}
	return "", errors.New("no vermagic: it says no kernel that it is for")
}

// kernelRelease is the release of an unpacked kernel: the name of the folder of its modules.
func kernelRelease(root string) (string, error) {
	for _, pattern := range []string{"lib/modules/*", "usr/lib/modules/*"} {
		if dirs, err := filepath.Glob(filepath.Join(root, pattern)); err == nil && len(dirs) == 1 {
			return filepath.Base(dirs[0]), nil
		}
	}
	return "", fmt.Errorf("find release of the kernel in %s: not one folder lib/modules/RELEASE", root)
}

// fitting are the modules that a kernel takes.
func fitting(all []external, release string) []external {
	return slices.DeleteFunc(slices.Clone(all), func(e external) bool { return e.release != release })
}

// runsWith reports whether a suite runs in a guest that has these modules.
func (s *Suite) runsWith(given []external) bool {
	return s.Module == "" || slices.ContainsFunc(given, func(e external) bool { return e.name == s.Module })
}

// wanted are the kernel's own modules that a guest gets: those that the given ones depend on too.
func wanted(given []external) []string {
	names := Modules()
	for _, e := range given {
		names = append(names, e.depends...)
	}
	return names
}

// parameters are what a module is inserted with. netmap's memory is smaller than a guest's, which its own default is not. PF_RING takes
// for granted that a device of one queue is served by one CPU, and damages its ring where, as with veth, that is not so.
func parameters(name string) string {
	switch name {
	case "netmap":
		return "buf_num=16384 ring_num=64 if_num=32"
	case "pf_ring":
		return "force_ring_lock=1"
	}
	return ""
}
