package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/userspace/config"
)

// socketTimeout bounds the call to a daemon, which answers at once if it lives.
const socketTimeout = time.Second

// readConfig reads the configuration, and its list files with it. One that cannot be used is replaced by an empty one.
func readConfig(path string) (*config.Config, []Finding) {
	if path == "" {
		return config.Default(), nil
	}
	cfg, err := config.Load(path)
	var mistakes config.Errors
	switch {
	case errors.As(err, &mistakes):
		return config.Default(), []Finding{{Name: "config", Status: Missing, Detail: err.Error(), Remedy: "weir check --config " + path}}
	case err != nil:
		return config.Default(), []Finding{{Name: "config", Status: Missing, Detail: err.Error(), Remedy: "give the right path, or run as a user that may read it"}}
	}
	all := []Finding{{Name: "config", Status: OK, Detail: path}}
	for _, w := range cfg.Warnings {
		if !strings.Contains(w.Error(), `"notify.script`) { // examined below
			all = append(all, Finding{Name: "config", Status: Warn, Detail: w.Error(), Remedy: "see weir.example.yaml"})
		}
	}
	if n := len(cfg.ListFiles); n > 0 {
		all = append(all, Finding{Name: "list_files", Status: OK, Detail: fmt.Sprintf("%d read: %s", n, strings.Join(cfg.ListFiles, ", "))})
	}
	return cfg, all
}

func examineConfig(ctx context.Context, cfg *config.Config) []Finding {
	all := []Finding{examineSocket(ctx, cfg.API.Socket), examineStore(cfg.Store.Path)}
	if cfg.API.Group != "" {
		all = append(all, examineGroup(cfg.API.Group))
	}
	if cfg.Notify.Script.Path != "" {
		all = append(all, examineScript(cfg.Notify.Script.Path))
	}
	all = append(all, examineEngines(ctx, cfg)...)
	return append(all, examineExporters(ctx, cfg)...)
}

// examineSocket tells whether a daemon listens, and if none does, whether one could.
func examineSocket(ctx context.Context, path string) Finding {
	f := Finding{Name: "api_socket", Status: Warn}
	dialer := net.Dialer{Timeout: socketTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		err = conn.Close()
	}
	switch {
	case err == nil:
		f.Status, f.Detail = OK, "a daemon listens at "+path
	case errors.Is(err, fs.ErrPermission):
		f.Detail, f.Remedy = path+": not for this user", "run as root, or join the group that api.group names"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		f.Detail, f.Remedy = "no daemon listens at "+path, "weir run"
		if err := writable(filepath.Dir(path)); err != nil {
			f.Status, f.Detail, f.Remedy = Missing, err.Error(), "run as root, or set api.socket to a path that the daemon may write"
		}
	default:
		f.Detail, f.Remedy = err.Error(), "look at what is at "+path
	}
	return f
}

func examineStore(path string) Finding {
	err := writable(path)
	if err == nil {
		return Finding{Name: "store", Status: OK, Detail: path + " can be written"}
	}
	return Finding{Name: "store", Status: Missing, Detail: err.Error(), Remedy: "run as root, or set store.path to a file that the daemon may write"}
}

// writable tells whether path can be written or, while it is not there, be made: then the closest folder above it decides.
func writable(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			continue
		}
		if err != nil {
			return err
		}
		if at != path && !info.IsDir() {
			return fmt.Errorf("make %s: %s is not a folder", path, at)
		}
		rights := uint32(unix.W_OK)
		if info.IsDir() {
			rights |= unix.X_OK
		}
		if err := unix.Access(at, rights); err != nil {
			return fmt.Errorf("write %s: %w", at, err)
		}
		return nil
	}
}

func examineGroup(name string) Finding {
	if _, err := user.LookupGroup(name); err != nil {
		return Finding{Name: "api_group", Status: Warn, Detail: err.Error() + ": only root may use the socket", Remedy: "groupadd --system " + name}
	}
	return Finding{Name: "api_group", Status: OK, Detail: "members of " + name + " may use the socket"}
}

func examineScript(path string) Finding {
	f := Finding{Name: "notify_script", Status: Missing}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		f.Detail, f.Remedy = err.Error(), "install it, or take notify.script out of the configuration"
	case !info.Mode().IsRegular():
		f.Detail, f.Remedy = path+": not a file", "set notify.script.path to a program"
	case unix.Access(path, unix.X_OK) != nil:
		f.Detail, f.Remedy = path+": not executable", "chmod +x "+path
	default:
		f.Status, f.Detail = OK, path+" can be run"
	}
	return f
}
