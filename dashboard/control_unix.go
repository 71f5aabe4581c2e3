//go:build unix

package dashboard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is what all systems take as the path of a socket (104 bytes
// with the final zero), less what the directory adds in which it is made.
const maxSocketPath = 104 - 1 - len("/.stint-0123456789/s")

// privatePrefix begins the name of the directory for sockets that cannot be
// beside their files.
const privatePrefix = "stint-control-"

// ControlPath is where the program that has opened a file listens for the
// stint command: beside the file, with .sock appended. Where that is too long
// for a socket, it is in a directory of the file's owner below os.TempDir. It
// is an error where there are no such sockets, as on Windows.
func ControlPath(file string) (string, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("stint: no control socket: %w", err)
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	if len(file)+len(".sock") <= maxSocketPath {
		return file + ".sock", nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("stint: no control socket: %w", err)
	}
	sum := sha256.Sum256([]byte(file))
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d", privatePrefix, info.Sys().(*syscall.Stat_t).Uid))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".sock"), nil
}

// listen serves the control socket until the queue is closed. Without it the
// program works all the same, so what hinders it is logged.
func (d *dashboard) listen(next http.Handler) {
	if d.file == "" {
		return // the queue is closed, and there is nothing to control
	}
	path, err := ControlPath(d.file)
	if err == nil {
		s := &controlSocket{path: path, server: d.controlServer(next)}
		d.q.OnClose(s.close) // first, as the file may be somebody else's once the queue is closed
		err = s.open()
	}
	if err != nil {
		d.log.Warn("stint dashboard: there is no control socket, so the stint command cannot reach this program; set Config.NoControlSocket if none is wanted", "error", err)
	}
}

// controlSocket is the socket of a queue.
type controlSocket struct {
	path   string
	server *http.Server

	mu      sync.Mutex
	isOpen  bool
	closed  bool // it will not be opened any more
	serving sync.WaitGroup
}

// served are the paths of this process's sockets. A second Handler of a queue
// leaves the first one's alone.
var served sync.Map

func (s *controlSocket) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if _, taken := served.LoadOrStore(s.path, true); taken {
		return nil
	}
	listener, err := listenAt(s.path)
	if err != nil {
		served.Delete(s.path)
		return err
	}
	s.isOpen = true
	s.serving.Go(func() { _ = s.server.Serve(listener) }) // it ends with Shutdown and nothing else
	return nil
}

// controlPatience is how long Close waits for requests that are under way.
const controlPatience = time.Second

// close removes the socket before the file is let go of: the next process makes
// its own.
func (s *controlSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if !s.isOpen {
		return
	}
	_ = os.Remove(s.path)
	ctx, cancel := context.WithTimeout(context.Background(), controlPatience)
	defer cancel()
	_ = s.server.Shutdown(ctx) // what is under way gets its answer,
	_ = s.server.Close()       // unless that takes too long
	s.serving.Wait()
	served.Delete(s.path)
}

// listenAt makes a socket that only its owner can open from the first moment
// on: it is made in a directory of its own and then moved. One that is there
// is what a crash has left, since this process has the file.
func listenAt(path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if strings.HasPrefix(filepath.Base(dir), privatePrefix) {
		if err := ownDirectory(dir); err != nil {
			return nil, err
		}
	}
	private, err := os.MkdirTemp(dir, ".stint-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(private, "s"), Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false) // the name it knows is not the one it has
	err = os.Chmod(filepath.Join(private, "s"), 0o600)
	if err == nil {
		err = os.Rename(filepath.Join(private, "s"), path)
	}
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// ownDirectory makes a directory below the one for temporary files, where
// anybody could have made one of that name.
func ownDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; !info.IsDir() || info.Mode().Perm() != 0o700 || int(owner) != os.Geteuid() {
		return fmt.Errorf("stint: %s is not a directory that only user %d can open", dir, os.Geteuid())
	}
	return nil
}
