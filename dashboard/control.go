package dashboard

import (
	"context"
	"net/http"
	"time"
)

// The control socket, through which the stint command speaks to the program
// that has the file open. It serves what Handler serves, to whoever may open
// the socket: the owner of the file, and root.

// controlUser is the header in which the stint command says who uses it. It
// counts on the control socket only.
const controlUser = "Stint-User"

// controlHandler lets who has come through the socket do everything.
func (d *dashboard) controlHandler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := r.Header.Get(controlUser)
		if user == "" {
			user = "control socket"
		}
		ctx := context.WithValue(r.Context(), controlAccess{}, Access{Role: Admin, User: user})
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// controlServer serves one socket.
func (d *dashboard) controlServer(next http.Handler) *http.Server {
	return &http.Server{Handler: d.controlHandler(next), ReadHeaderTimeout: 10 * time.Second}
}
