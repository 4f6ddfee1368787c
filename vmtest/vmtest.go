// Package vmtest runs compiled tests under other Linux kernels: it fetches Debian's kernels, boots them in QEMU and collects each test's result.
package vmtest

// Suite is one package's tests as they run under every kernel.
type Suite struct {
	Package string // import path; a testdata folder beside it is taken along
	Run     string // -test.run pattern; empty: all
	Skip    string // -test.skip pattern; empty: none
	Module  string // a module from outside of the kernel that the tests are about: they run where it is given; empty: they run everywhere
}

// Kernel says which kernel to fetch: the highest version among the packages of one suite whose names match.
type Kernel struct {
	Name    string // as it is called in results and in KERNELS
	Suite   string // archive suite; empty: the machine's own release with its security updates
	Section string // "main" or "security": which of the machine's archives serves the suite
	Pattern string // regular expression over package names
}

// Kernels are all kernels that Debian's archive still serves and that differ in what the data plane may use, oldest first.
func Kernels() []Kernel {
	const tail = `-cloud-amd64(-unsigned)?$`
	return []Kernel{
		{Name: "5.10", Suite: "bullseye-security", Section: "security", Pattern: `^linux-image-5\.10\.0-[0-9]+` + tail},
		{Name: "6.1", Pattern: `^linux-image-6\.1\.[0-9][^ ]*` + tail},
		{Name: "6.12", Pattern: `^linux-image-6\.12\.[0-9][^ ]*` + tail},
		{Name: "newest", Suite: "trixie-backports", Section: "main", Pattern: `^linux-(image|binary)-[0-9][^ ]*` + tail},
	}
}

// Modules are what the tests need beyond what is built into the kernel; what they depend on is found from the files.
func Modules() []string {
	return []string{"veth", "dummy", "8021q", "bridge", "sch_ingress", "cls_bpf"}
}

// Plan is what the guest does, as /plan.json in its initial file system.
type Plan struct {
	Modules []Insert `json:"modules"` // in this order
	Tests   []Run    `json:"tests"`
}

// Insert is a module and its parameters.
type Insert struct {
	File       string `json:"file"`
	Parameters string `json:"parameters"`
}

// Run is one test binary and its arguments.
type Run struct {
	Name string   `json:"name"`
	Dir  string   `json:"dir"`
	Args []string `json:"args"` // Args[0] is the binary
	Env  []string `json:"env"`  // beyond what every test gets
}

// ModuleVariable is set, for the tests of a Suite with a Module, to the module's name: it is inserted.
const ModuleVariable = "WEIR_MODULE"

// The guest's report is the tests' own output between these lines, each followed by a name or verdict.
const (
	MarkTest    = "@vmtest test "    // NAME: its output follows
	MarkExit    = "@vmtest exit "    // NAME STATUS: it ended, "ok" or why not
	MarkKernel  = "@vmtest kernel "  // RELEASE
	MarkTrouble = "@vmtest trouble " // what the guest could not set up
	MarkDone    = "@vmtest done"     // all tests were run
)

// Where the guest's init finds its plan, and which serial line takes the report: the kernel writes to the first, so the
// report has the second for itself.
const (
	PlanFile   = "/plan.json"
	ReportLine = "/dev/ttyS1"
)
