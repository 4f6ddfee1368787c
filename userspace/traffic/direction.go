package traffic

import "fmt"

// Direction says which way a packet crosses the border of our own networks.
type Direction uint8

// The order of the first two is the kernel's: enum direction in bpf/abi.h indexes host cells by it.
const (
	Incoming Direction = iota // the destination is ours
	Outgoing                  // the source is ours
	Internal                  // both are ours: counted for both hosts
	Other                     // neither is ours
	DirectionCount
)

var directionNames = [DirectionCount]string{"incoming", "outgoing", "internal", "other"}

// String returns the direction's name as it stands in configuration, JSON and metrics.
func (d Direction) String() string {
	if d < DirectionCount {
		return directionNames[d]
	}
	return fmt.Sprintf("direction(%d)", uint8(d))
}

// ParseDirection is the inverse of String.
func ParseDirection(name string) (Direction, error) {
	for d, n := range directionNames {
		if n == name {
			return Direction(d), nil
		}
	}
	return 0, fmt.Errorf("unknown direction %q; expected incoming, outgoing, internal or other", name)
}
