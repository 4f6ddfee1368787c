package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// ProgramSet is what an Attacher attaches. The programs stay the caller's: they are to be closed after Run has returned
// or Replace has put another set in their place.
type ProgramSet struct {
	// XDP returns the program for an interface of a role.
	XDP func(Role) (*ebpf.Program, error)
	// Egress returns the tc program; it must let packets go on to the next one (TC_ACT_UNSPEC).
	Egress func() (*ebpf.Program, error)
	// SetPair makes the packets of a wire's interface leave by another; both are interface indexes.
	SetPair func(ifindex, pairIfindex int) error
	// ClearPair undoes SetPair; it is no error when there was none.
	ClearPair func(ifindex int) error
}

func (s ProgramSet) check(list []Interface) error {
	if s.XDP == nil {
		return errors.New("check program set: it has no XDP program")
	}
	for _, i := range list {
		if i.Egress && s.Egress == nil {
			return fmt.Errorf("check program set: interface %q asks for egress and there is no program for it", i.Name)
		}
		if i.Role == Wire && (s.SetPair == nil || s.ClearPair == nil) {
			return fmt.Errorf("check program set: interface %q is a wire and pairs cannot be set", i.Name)
		}
	}
	return nil
}

// OnStop says what becomes of the attached programs when the daemon ends.
type OnStop uint8

const (
	// StopDetach leaves nothing behind.
	StopDetach OnStop = iota
	// StopKeep leaves the programs at work, pinned, for the next daemon to adopt. Needs AttachOptions.PinPath.
	StopKeep
)

// AttachOptions are an Attacher's settings. The zero value works in the process's own network namespace, without pins.
type AttachOptions struct {
	// PinPath is a folder on a BPF file system, made when missing, where links are pinned as link_NAME, so that a killed
	// daemon's programs stay and the next one adopts them; "" pins nothing. One daemon, one folder.
	PinPath string
	Log     *slog.Logger // nil discards
	OnStop  OnStop
	// Namespace is the network namespace of the interfaces, an open file such as /run/netns/NAME that stays open until
	// Run has returned; nil is the process's own. Namespaces belong to threads, and goroutines move between those, so
	// the namespace of the calling thread never counts: several Attachers with different namespaces fit into one process.
	Namespace *os.File
	// Clsact attaches egress programs as a tc filter even where the kernel has tcx.
	Clsact bool
	// Notify, if set, is told an interface's status after each change, one call at a time. It must not block nor call
	// the Attacher, which would wait for itself.
	Notify func(InterfaceStatus)
}

func (o AttachOptions) check() error {
	if o.OnStop > StopKeep {
		return fmt.Errorf("check attach options: unknown action on stop %d", o.OnStop)
	}
	if o.OnStop == StopKeep && o.PinPath == "" {
		return errors.New("check attach options: programs can stay after a stop only when they are pinned; set a pin path")
	}
	return nil
}

// The ways to run a program at tc egress.
const (
	EgressNone   = "none"
	EgressTCX    = "tcx"    // a BPF link, Linux 6.6 and newer
	EgressClsact = "clsact" // a filter of the clsact qdisc
)

// InterfaceStatus is the state of one interface.
type InterfaceStatus struct {
	Name      string
	Index     int    // 0: there is no such interface now
	Requested Mode   // as configured
	Mode      Mode   // as attached; Auto while not attached
	Why       string // how the mode came about, such as "native: veth"
	Role      Role
	Pair      string
	Egress    string // EgressNone, EgressTCX or EgressClsact
	Up        bool   // administratively up
	Attached  bool
	Adopted   bool      // the link was there from an earlier daemon
	Attaches  uint64    // how often a program was attached, adoptions included
	Since     time.Time // of Attached's last change
	Error     string    // why not attached, or what is wrong though attached; "" when all is well
	Warnings  []string  // settings of the interface that harm, each with its remedy
	MTU       int       // bytes
	Driver    string    // as ethtool -i says, or the kind of a device without one
}

// pinName returns the file name for an interface. The BPF file system has no names with a dot, which VLAN interfaces have.
func pinName(prefix, name string) string {
	return prefix + strings.NewReplacer("%", "%25", ".", "%2e").Replace(name)
}

// pinOwner is the inverse of pinName: the interface of a file with that prefix.
func pinOwner(prefix, file string) (string, bool) {
	name, ours := strings.CutPrefix(file, prefix)
	return strings.NewReplacer("%25", "%", "%2e", ".").Replace(name), ours
}
