package loader

// Finding is the answer to one question about what this kernel, this machine and this user may do.
type Finding struct {
	Name      string // such as "kernel", "tcx", "mtu"
	Interface string // "" when it is about the whole machine
	OK        bool
	Optional  bool   // Weir works without it
	Detail    string // what was found
	Remedy    string // what to do when not OK, or when it could be better
}
