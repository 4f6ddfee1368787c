package loader

import (
	"os"

	"github.com/cilium/ebpf/link"
)

// sweep takes away what an earlier daemon left on interfaces that are no longer configured: nobody else would ever. What
// cannot be taken away is logged; the configured interfaces are at work all the same.
func (a *Attacher) sweep() {
	if a.opts.PinPath == "" {
		return
	}
	files, err := os.ReadDir(a.opts.PinPath)
	if err != nil {
		a.log.Warn("pin folder not read", "path", a.opts.PinPath, "error", err)
		return
	}
	configured := make(map[string]bool, len(a.attachments))
	for _, t := range a.attachments {
		configured[t.conf.Name] = true
	}
	for _, file := range files {
		for prefix, end := range map[string]func(path, name string) error{
			"link_": endPin, "egress_": endPin, "promisc_": a.endMarkedPromiscuous, "clsact_": a.endMarkedFilter,
		} {
			name, ours := pinOwner(prefix, file.Name())
			if !ours || configured[name] {
				continue
			}
			path := a.opts.PinPath + "/" + file.Name()
			if err := end(path, name); err != nil {
				a.log.Warn("leftover not removed", "path", path, "interface", name, "error", err)
				continue
			}
			a.log.Info("leftover removed", "path", path, "interface", name)
		}
	}
}

func endPin(path, _ string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return err
	}
	return endLink(l, path)
}

func (a *Attacher) endMarkedPromiscuous(path, name string) error {
	device, err := a.netlink.LinkByName(name)
	if err == nil {
		err = a.netlink.SetPromiscOff(device)
	}
	if err != nil && !isNotFound(err) {
		return err
	}
	return marker(path).clear()
}

func (a *Attacher) endMarkedFilter(path, name string) error {
	device, err := a.netlink.LinkByName(name)
	if isNotFound(err) {
		return marker(path).clear()
	}
	if err != nil {
		return err
	}
	return a.removeFilter(name, device)
}
