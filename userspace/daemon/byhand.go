package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"weir/userspace/traffic"
)

// byHandFile keeps what was announced by hand over restarts: a JSON file that is replaced as a whole.
type byHandFile string

func (f byHandFile) read() ([]traffic.Announcement, error) {
	data, err := os.ReadFile(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read announcements by hand: %w", err)
	}
	var list []traffic.Announcement
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("read announcements by hand from %s: %w", string(f), err)
	}
	return list, nil
}

func (f byHandFile) write(list []traffic.Announcement) error {
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("write announcements by hand: %w", err)
	}
	fresh := string(f) + ".new"
	if err := os.WriteFile(fresh, data, 0o600); err != nil {
		return fmt.Errorf("write announcements by hand: %w", err)
	}
	if err := os.Rename(fresh, string(f)); err != nil {
		return fmt.Errorf("write announcements by hand: %w", err)
	}
	return nil
}
