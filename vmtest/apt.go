package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNotServed says that the archive answered, and does not have what was asked for.
var ErrNotServed = errors.New("not served by the archive")

// Apt fetches packages without installing them, by apt's own tools with sources and state of its own, so that the
// machine's package lists stay as they are and root is not needed.
type Apt struct {
	cache    string // folder for lists and unpacked packages
	codename string // the machine's release
	main     string // URL of its archive
	security string // URL of its security archive
}

// listsAge is for how long package lists are taken as current.
const listsAge = 12 * time.Hour

// NewApt finds the machine's own archives; cache is a folder that is kept between runs.
func NewApt(ctx context.Context, cache string) (*Apt, error) {
	codename, err := releaseCodename("/etc/os-release")
	if err != nil {
		return nil, err
	}
	targets, err := output(exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"))
	if err != nil {
		return nil, fmt.Errorf("list apt's sources: %w", err)
	}
	a := &Apt{cache: cache, codename: codename}
	for line := range strings.Lines(targets) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "main" {
			continue
		}
		switch fields[1] {
		case codename:
			a.main = fields[0]
		case codename + "-security":
			a.security = fields[0]
		}
	}
	if a.main == "" || a.security == "" {
		return nil, fmt.Errorf("find Debian's archives: apt's sources do not have both %s and %s-security; run apt-get update, or add the missing one", codename, codename)
	}
	return a, nil
}

// releaseCodename reads VERSION_CODENAME of an os-release file (os-release(5)).
func releaseCodename(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); found {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", fmt.Errorf("read %s: no VERSION_CODENAME", path)
}

// sources returns the one-line-style sources.list(5) for a kernel.
func (a *Apt) sources(k Kernel) string {
	if k.Suite == "" {
		return fmt.Sprintf("deb %s %s main\ndeb %s %s-security main\n", a.main, a.codename, a.security, a.codename)
	}
	archive := a.main
	if k.Section == "security" {
		archive = a.security
	}
	return fmt.Sprintf("deb %s %s main\n", archive, k.Suite)
}

// Fetch returns the folder that holds the newest package of k, unpacked, and the package's name. If the archive cannot
// be reached, a package that was fetched earlier serves as well; it returns an error only if there is none. One call at a
// time: apt locks its lists.
func (a *Apt) Fetch(ctx context.Context, k Kernel) (dir, name string, err error) {
	suite := k.Suite
	if suite == "" {
		suite = a.codename
	}
	options, err := a.prepare(suite, a.sources(k))
	if err != nil {
		return "", "", err
	}
	pattern, err := regexp.Compile(k.Pattern)
	if err != nil {
		return "", "", fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	if err := a.update(ctx, suite, options); err != nil {
		if dir, name := a.kept(pattern); dir != "" {
			return dir, name, nil
		}
		return "", "", err
	}
	found, err := output(exec.CommandContext(ctx, "apt-cache", append(options, "search", "--names-only", "^linux-(image|binary|modules)-")...))
	if err != nil {
		return "", "", fmt.Errorf("search packages of %s: %w", suite, err)
	}
	var names []string
	for line := range strings.Lines(found) {
		n, _, _ := strings.Cut(line, " ")
		names = append(names, n)
	}
	err = fmt.Errorf("find kernel %s in %s: no package matches %s: %w", k.Name, suite, k.Pattern, ErrNotServed)
	// The lists of an old release name packages whose files are gone from the archive, hence more than one attempt.
	candidates := newestFirst(names, pattern)
	for _, name := range candidates[:min(len(candidates), 6)] {
		dir = filepath.Join(a.cache, name)
		if _, statErr := os.Stat(dir); statErr == nil {
			return dir, name, nil
		}
		packages := []string{name}
		// Newer releases have the kernel and its modules in two packages.
		if modules := strings.Replace(name, "linux-binary-", "linux-modules-", 1); modules != name && slices.Contains(names, modules) {
			packages = append(packages, modules)
		}
		if err = a.download(ctx, dir, packages, options); err == nil {
			return dir, name, nil
		}
		if !errors.Is(err, ErrNotServed) {
			break
		}
	}
	if dir, name := a.kept(pattern); dir != "" {
		return dir, name, nil
	}
	return "", "", err
}

// prepare writes the private configuration of a suite and returns apt's options for it.
func (a *Apt) prepare(suite, sources string) ([]string, error) {
	state := filepath.Join(a.cache, "apt", suite)
	for _, d := range []string{filepath.Join(state, "lists", "partial"), filepath.Join(state, "archives", "partial")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	list := filepath.Join(state, "sources.list")
	if err := os.WriteFile(list, []byte(sources), 0o644); err != nil {
		return nil, err
	}
	var options []string
	for _, o := range []string{
		"Dir::Etc::sourcelist=" + list, "Dir::Etc::sourceparts=/dev/null", "Dir::State::lists=" + filepath.Join(state, "lists"), "Dir::Cache=" + state,
		"APT::Sandbox::User=root", "APT::Get::List-Cleanup=false", "Acquire::Retries=3", "Acquire::http::Timeout=30", "Acquire::Languages=none", "APT::Update::Error-Mode=any",
		// Hooks that the machine has for its own lists have no business with these.
		"APT::Update::Post-Invoke-Success=", "APT::Update::Post-Invoke=",
	} {
		options = append(options, "-o", o)
	}
	return options, nil
}

// update fetches a suite's package lists unless they are recent.
func (a *Apt) update(ctx context.Context, suite string, options []string) error {
	stamp := filepath.Join(a.cache, "apt", suite, "updated")
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < listsAge {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "apt-get", append(options, "update", "-q")...).CombinedOutput(); err != nil {
		return fmt.Errorf("update package lists of %s: %w\n%s", suite, answer(err, out), out)
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// kept returns the newest matching package that an earlier run has unpacked.
func (a *Apt) kept(pattern *regexp.Regexp) (dir, name string) {
	entries, err := os.ReadDir(a.cache)
	if err != nil {
		return "", ""
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	names = newestFirst(names, pattern)
	if len(names) == 0 {
		return "", ""
	}
	return filepath.Join(a.cache, names[0]), names[0]
}

// download unpacks packages into dir, which appears only once it is complete.
func (a *Apt) download(ctx context.Context, dir string, packages, options []string) error {
	work, err := os.MkdirTemp(a.cache, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	root := filepath.Join(work, "root")
	for _, p := range packages {
		get := exec.CommandContext(ctx, "apt-get", append(options, "download", "-q", p)...)
		get.Dir = work
		if out, err := get.CombinedOutput(); err != nil {
			return fmt.Errorf("download %s: %w\n%s", p, answer(err, out), out)
		}
		files, err := filepath.Glob(filepath.Join(work, p+"_*.deb"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("download %s: %d files came of it", p, len(files))
		}
		if _, err := output(exec.CommandContext(ctx, "dpkg-deb", "-x", files[0], root)); err != nil {
			return fmt.Errorf("unpack %s: %w", files[0], err)
		}
	}
	if err := os.Rename(root, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// newestFirst returns the matching names by falling version: numbers in names compare as numbers.
func newestFirst(names []string, pattern *regexp.Regexp) []string {
	matching := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !pattern.MatchString(n) })
	slices.SortFunc(matching, func(a, b string) int {
		if c := slices.Compare(numbers(b), numbers(a)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return matching
}

// numbers returns the runs of digits in s.
func numbers(s string) []int {
	var all []int
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		n, err := strconv.Atoi(f)
		if err != nil { // more digits than an int has: no version number
			n = 0
		}
		all = append(all, n)
	}
	return all
}

// answer adds ErrNotServed to an error of apt-get if the archive answered: that is no failure to reach it.
func answer(err error, out []byte) error {
	if bytes.Contains(out, []byte("does not have a Release file")) || bytes.Contains(out, []byte("404  Not Found")) {
		return fmt.Errorf("%w: %w", err, ErrNotServed)
	}
	return err
}

// output runs cmd; an error carries what it wrote to its error output.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLine(&stderr))
	}
	return stdout.String(), nil
}

func lastLine(r *bytes.Buffer) string {
	var last string
	for s := bufio.NewScanner(r); s.Scan(); {
		last = s.Text()
	}
	return last
}
