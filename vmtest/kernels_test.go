package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/tests/need"
)

// suites are the packages whose tests run under every kernel.
func suites() []Suite {
	return []Suite{
		{Package: "weir/vmtest/smoke"},
		{Package: "weir/loader", Skip: strings.Join(sameEverywhere(), "|")},
		{Package: "weir/userspace/capture/netmap", Run: "^TestModule", Module: "netmap"},
		{Package: "weir/userspace/capture/pfring", Run: "^TestModule", Module: "pf_ring"},
	}
}

// sameEverywhere is tests of the loader that say nothing of a kernel: they read C, or hold parsers and tables against each other in many more
// ways than it takes to see that the programs load and run.
func sameEverywhere() []string {
	return []string{
		"^TestEnumsHaveGoNames$", "^FuzzParsersAgree$", "^TestParsersAgreeOnDamage", "^TestParsersAgreeOnRandom", "^TestParsersAgreeOnTunnels$/^(none|outer|few|inner,_one_deep)$",
		"^TestRulesInKernel$", "^TestRuleOrder$", "^TestManyRules$", "^TestRuleTables$", "^TestSourcesInKernel$",
		"^TestClientsConnectDuringFlood$", "^TestCurlDuringFlood$", // under emulation they take too long; their packets are those of other tests
	}
}

// suitesWith are those that run in a guest with these modules from elsewhere.
func suitesWith(given []external) []Suite {
	return slices.DeleteFunc(suites(), func(s Suite) bool { return !s.runsWith(given) })
}

// A guest boots within seconds; the rest is for tests under software emulation.
const (
	binaryTimeout = 8 * time.Minute
	guestTimeout  = 12 * time.Minute
)

// TestKernels runs all suites under each of Debian's kernels, or under those that KERNELS names ("5.10,newest"). MODULES names a folder
// of modules from elsewhere (netmap.ko, pf_ring.ko): each is inserted into the kernel that it was built for, and the suites about it run.
func TestKernels(t *testing.T) {
	need.Tool(t, "qemu-system-x86_64", "qemu-system-x86")
	need.Tool(t, "apt-get", "apt")
	need.Tool(t, "dpkg-deb", "dpkg")
	need.Tool(t, "xz", "xz-utils")
	kernels, err := selectKernels(os.Getenv("KERNELS"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(base, "weir", "vmtest")
	apt, err := NewApt(t.Context(), cache)
	if err != nil {
		need.Missing(t, "%v", err)
	}
	var given []external
	if dir := os.Getenv("MODULES"); dir != "" {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join("..", dir) // as it was meant where make runs
		}
		if given, err = findExternal(dir); err != nil {
			t.Fatal(err)
		}
	}
	binaries, err := Build(t.Context(), t.TempDir(), suitesWith(given))
	if err != nil {
		t.Fatal(err)
	}

	var fetching, mutex sync.Mutex
	reports := map[string]*Report{}
	fitted := 0
	var names []string
	t.Run("on", func(t *testing.T) {
		for _, k := range kernels {
			names = append(names, k.Name)
			t.Run(k.Name, func(t *testing.T) {
				t.Parallel()
				fetching.Lock()
				root, name, err := apt.Fetch(t.Context(), k)
				fetching.Unlock()
				switch {
				case errors.Is(err, ErrNotServed) && k.Suite != "":
					t.Skipf("kernel %s: %v", k.Name, err) // the archive moves on, and takes releases that are not this machine's with it
				case err != nil:
					need.Missing(t, "kernel %s: %v", k.Name, err)
				}
				release, err := kernelRelease(root)
				if err != nil {
					t.Fatal(err)
				}
				fit := fitting(given, release)
				report := runKernel(t, binaries, root, name, fit)
				mutex.Lock()
				defer mutex.Unlock()
				reports[k.Name] = report
				fitted += len(fit)
			})
		}
	})
	if fitted < len(given) {
		var lines []string
		for _, e := range given {
			lines = append(lines, e.name+".ko for "+e.release)
		}
		t.Errorf("%d of the modules in MODULES fit none of the kernels: %s", len(given)-fitted, strings.Join(lines, ", "))
	}
	t.Logf("what is missing where:\n%s", Table(names, reports))
}

func runKernel(t *testing.T, binaries *Binaries, root, name string, given []external) *Report {
	ctx, cancel := context.WithTimeout(t.Context(), guestTimeout)
	defer cancel()
	var text strings.Builder
	began := time.Now()
	absent, err := binaries.Boot(ctx, root, t.TempDir(), given, binaryTimeout, io.MultiWriter(&text, t.Output()))
	if err != nil {
		t.Errorf("kernel %s: %v", name, err)
	}
	report := ParseReport(text.String())
	t.Logf("%s: Linux %s, %d tests, %.1f s; not among its modules: %v", name, report.Release, len(report.Tests), time.Since(began).Seconds(), absent)
	for _, f := range report.Failures(suitesWith(given)) {
		t.Error(f)
	}
	return report
}

// selectKernels returns the kernels that a comma-separated list of names asks for; empty: all.
func selectKernels(list string) ([]Kernel, error) {
	kernels := Kernels()
	if list == "" {
		return kernels, nil
	}
	var selected []Kernel
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(kernels, func(k Kernel) bool { return k.Name == name })
		if i < 0 {
			var known []string
			for _, k := range kernels {
				known = append(known, k.Name)
			}
			return nil, fmt.Errorf("select kernel %q: unknown; expected some of %s", name, strings.Join(known, ","))
		}
		selected = append(selected, kernels[i])
	}
	return selected, nil
}
