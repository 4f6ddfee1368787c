package traffic

// Action is what the kernel does with the packets of a host.
type Action uint8

// The values are enum action of bpf/abi.h.
const (
	ActionNone Action = iota
	ActionDrop
	ActionCount
)

var actionNames = [ActionCount]string{"none", "drop"}

// String returns the action's name as it stands in JSON.
func (a Action) String() string {
	if a < ActionCount {
		return actionNames[a]
	}
	return "unknown"
}
