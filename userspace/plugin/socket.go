package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
)

// account is whom the program runs as.
type account struct {
	uid, gid int
	groups   []uint32
	home     string
}

// lookup finds the user; nil: the program runs as Weir does.
func (o *Options) lookup() (*account, error) {
	if o.User == "" {
		return nil, nil
	}
	u, err := user.Lookup(o.User)
	if err != nil {
		return nil, fmt.Errorf("run it as %q: %w; create the user by: useradd --system %s", o.User, err, o.User)
	}
	a := &account{home: u.HomeDir}
	var uidErr, gidErr error
	a.uid, uidErr = strconv.Atoi(u.Uid)
	a.gid, gidErr = strconv.Atoi(u.Gid)
	ids, groupsErr := u.GroupIds()
	if err := errors.Join(uidErr, gidErr, groupsErr); err != nil {
		return nil, fmt.Errorf("run it as %q: %w", o.User, err)
	}
	for _, id := range ids {
		gid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("run it as %q: group %q: %w", o.User, id, err)
		}
		a.groups = append(a.groups, uint32(gid))
	}
	return a, nil
}

// listen creates the socket where only the program's user gets at it. The folder stays Weir's own: the program cannot put anything else in
// the socket's place.
func (p *Plugin) listen() (net.Listener, error) {
	who, err := p.options.lookup()
	if err != nil {
		return nil, err
	}
	base, own, path := fs.FileMode(0o700), fs.FileMode(0o700), p.options.socket()
	if who != nil {
		base, own = 0o711, 0o710
	}
	if _, err := os.Stat(p.options.Folder); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(os.MkdirAll(p.options.Folder, 0o755), os.Chmod(p.options.Folder, base)); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(p.options.folder(), own); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := os.Chmod(p.options.folder(), own); err != nil {
		return nil, err
	}
	if who != nil {
		if err := os.Chown(p.options.folder(), -1, who.gid); err != nil {
			return nil, err
		}
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("listen on %s: the file there is not a socket; remove it", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := bind(path)
	if err != nil {
		return nil, err
	}
	err = os.Chmod(path, 0o600)
	if err == nil && who != nil {
		err = os.Chown(path, who.uid, who.gid)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return &limited{Listener: listener, free: make(chan struct{}, maxConnections), closed: make(chan struct{})}, nil
}

// bind creates the socket closed to all but its owner from its first moment: Linux gives the file the mode of the unbound socket.
// Elsewhere that call is refused, and the folder alone keeps others away.
func bind(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.Fchmod(int(fd), 0o600)
		})
	}}
	return config.Listen(context.Background(), "unix", path)
}

// maxConnections is how many connections one program may have open. More wait until one is closed.
const maxConnections = 64

// limited is a listener with a bounded number of connections.
type limited struct {
	net.Listener
	free   chan struct{} // full: no more
	once   sync.Once
	closed chan struct{}
}

// Accept waits until there is a connection, and room for it.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: conn, free: l.free}, nil
}

// Close also ends an Accept that waits for room.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	once sync.Once
	free chan struct{}
}

// Close makes room for another.
func (c *limitedConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}
