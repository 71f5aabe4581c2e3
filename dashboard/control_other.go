//go:build !unix

package dashboard

import (
	"errors"
	"net/http"
)

// ControlPath is where the program that has opened a file listens for the
// stint command: beside the file, with .sock appended. Where that is too long
// for a socket, it is in a directory of the file's owner below os.TempDir. It
// is an error where there are no such sockets, as on Windows.
func ControlPath(file string) (string, error) {
	return "", errors.New("stint: there are no control sockets on this system; use the dashboard's address instead")
}

func (d *dashboard) listen(next http.Handler) {}
