package vmtest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
)

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.file("/bin/x", 0o755, []byte("hello"))
	a.file("/bin/y", 0o644, nil)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	// Each header is 110 bytes: the magic, then inode, mode, owner, group, links, time, size, 4 device numbers, name's size, checksum.
	const zeros = "00000000"
	device := strings.Repeat(zeros, 4)
	entry := func(inode, mode, size, name string, data string) string {
		return "070701" + inode + mode + zeros + zeros + "00000001" + zeros + size + device + name + zeros + data
	}
	want := entry("00000001", "000041ED", zeros, "00000004", "bin\x00\x00\x00") +
		entry("00000002", "000081ED", "00000005", "00000006", "bin/x\x00"+"hello\x00\x00\x00") +
		entry("00000003", "000081A4", zeros, "00000006", "bin/y\x00") +
		entry("00000000", zeros, zeros, "0000000B", "TRAILER!!!\x00\x00\x00\x00")
	if diff := cmp.Diff(b.String(), want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk is full") }

func TestArchiveError(t *testing.T) {
	a := newArchive(full{})
	a.file("/x", 0o644, nil)
	if err := a.close(); err == nil || err.Error() != "write initial file system: disk is full" {
		t.Errorf("got %v", err)
	}
}

// makeModule compiles nothing: an object file with a section .modinfo is all that findModules reads.
func makeModule(t *testing.T, path, depends string) {
	t.Helper()
	objcopy := need.Tool(t, "llvm-objcopy-14", "llvm-14")
	info := filepath.Join(t.TempDir(), "modinfo")
	if err := os.WriteFile(info, []byte("license=GPL\x00depends="+depends+"\x00name=x\x00vermagic=6.1.0-56-cloud-amd64 SMP preempt\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(objcopy, "--add-section", ".modinfo="+info, self, path).CombinedOutput(); err != nil {
		t.Fatalf("make module: %v\n%s", err, out)
	}
}

func TestFindModules(t *testing.T) {
	dir := t.TempDir()
	makeModule(t, filepath.Join(dir, "bridge.ko"), "stp,llc")
	makeModule(t, filepath.Join(dir, "stp.ko"), "llc")
	makeModule(t, filepath.Join(dir, "llc.ko"), "")
	makeModule(t, filepath.Join(dir, "sch-x.ko"), "")
	found, absent, err := findModules(dir, []string{"bridge", "sch_x", "af_packet"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range found {
		names = append(names, m.name)
	}
	if diff := cmp.Diff(names, []string{"llc", "stp", "bridge", "sch_x"}); diff != "" {
		t.Errorf("modules (-got +want)\n%s", diff)
	}
	if diff := cmp.Diff(absent, []string{"af_packet"}); diff != "" {
		t.Errorf("absent (-got +want)\n%s", diff)
	}
}

func TestFindExternal(t *testing.T) {
	dir := t.TempDir()
	if _, err := findExternal(dir); err == nil || !strings.Contains(err.Error(), "there is no NAME.ko in ") {
		t.Errorf("empty folder: got %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	makeModule(t, filepath.Join(dir, "netmap.ko"), "ptp")
	makeModule(t, filepath.Join(dir, "other", "pf-ring.ko"), "")
	all, err := findExternal(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.name+" "+e.release+" "+strings.Join(e.depends, ","))
	}
	if diff := cmp.Diff(got, []string{"netmap 6.1.0-56-cloud-amd64 ptp", "pf_ring 6.1.0-56-cloud-amd64 "}); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if n := len(fitting(all, "6.1.0-56-cloud-amd64")); n != 2 {
		t.Errorf("%d fit their own kernel", n)
	}
	if fit := fitting(all, "6.12.0"); len(fit) != 0 {
		t.Errorf("these fit another kernel: %v", fit)
	}
	for suite, want := range map[Suite]bool{{}: true, {Module: "netmap"}: true, {Module: "pf_ring"}: false} {
		if got := suite.runsWith(all[:1]); got != want {
			t.Errorf("%+v runs with netmap: %v, want %v", suite, got, want)
		}
	}
	if got := wanted(all); got[len(got)-1] != "ptp" {
		t.Errorf("what netmap depends on is missing in %v", got)
	}
}

func TestKernelRelease(t *testing.T) {
	root := t.TempDir()
	if _, err := kernelRelease(root); err == nil {
		t.Error("no error without modules")
	}
	if err := os.MkdirAll(filepath.Join(root, "usr", "lib", "modules", "7.0.1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := kernelRelease(root); err != nil || got != "7.0.1" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNewestFirst(t *testing.T) {
	names := []string{
		"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64-unsigned", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64-dbg",
		"linux-image-6.12.117+deb12-cloud-amd64", "linux-image-6.1.0-48-cloud-amd64",
	}
	for _, k := range Kernels() {
		if k.Name != "6.1" {
			continue
		}
		got := newestFirst(names, regexp.MustCompile(k.Pattern))
		want := []string{"linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64-unsigned", "linux-image-6.1.0-48-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64"}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("(-got +want)\n%s", diff)
		}
	}
}

func TestSources(t *testing.T) {
	a := &Apt{codename: "bookworm", main: "http://mirror.example/debian/", security: "http://mirror.example/debian-security/"}
	for _, tt := range []struct {
		kernel Kernel
		want   string
	}{
		{Kernel{}, "deb http://mirror.example/debian/ bookworm main\ndeb http://mirror.example/debian-security/ bookworm-security main\n"},
		{Kernel{Suite: "bullseye-security", Section: "security"}, "deb http://mirror.example/debian-security/ bullseye-security main\n"},
		{Kernel{Suite: "trixie-backports", Section: "main"}, "deb http://mirror.example/debian/ trixie-backports main\n"},
	} {
		if diff := cmp.Diff(a.sources(tt.kernel), tt.want); diff != "" {
			t.Errorf("(-got +want)\n%s", diff)
		}
	}
}

func TestAnswer(t *testing.T) {
	failed := errors.New("exit status 100")
	for _, tt := range []struct {
		out  string
		want bool
	}{
		{"Err:1 http://mirror.example/x\n  404  Not Found [IP: 203.0.113.80 80]", true},
		{"E: The repository 'http://mirror.example/debian sarge Release' does not have a Release file.", true},
		{"Could not connect to mirror.example:80 (203.0.113.80). - connect (111: Connection refused)", false},
	} {
		if got := errors.Is(answer(failed, []byte(tt.out)), ErrNotServed); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.out, got, tt.want)
		}
	}
}

func TestReleaseCodename(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(file, []byte("ID=debian\nVERSION_CODENAME=bookworm\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := releaseCodename(file); err != nil || got != "bookworm" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("ID=arch\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := releaseCodename(file); err == nil {
		t.Error("no error without a codename")
	}
}

func TestSelectKernels(t *testing.T) {
	for _, tt := range []struct{ list, want, err string }{
		{list: "", want: "5.10,6.1,6.12,newest"},
		{list: "newest,5.10", want: "newest,5.10"},
		{list: "4.19", err: `select kernel "4.19": unknown; expected some of 5.10,6.1,6.12,newest`},
	} {
		kernels, err := selectKernels(tt.list)
		if got := errorText(err); got != tt.err {
			t.Errorf("%s: got error %q, want %q", tt.list, got, tt.err)
		}
		var names []string
		for _, k := range kernels {
			names = append(names, k.Name)
		}
		if diff := cmp.Diff(strings.Join(names, ","), tt.want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", tt.list, diff)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
