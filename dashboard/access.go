package dashboard

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Role is what somebody may do. Each includes those before it.
type Role int

const (
	None    Role = iota
	View         // look at everything but what is redacted
	Operate      // retry, run now, cancel, kill, move, pause, resume, change workers, run schedules
	Admin        // delete, enqueue, edit, import, export, backup, compact, check, repair
)

// String is the name in lower case.
func (r Role) String() string {
	return [...]string{"none", "view", "operate", "admin"}[min(max(r, None), Admin)]
}

// Access is what Config.Authorize answers.
type Access struct {
	Role Role
	User string // who it is, for the action log
}

// access is what the sender of a request may do.
func (d *dashboard) access(r *http.Request) Access {
	if a, ok := r.Context().Value(controlAccess{}).(Access); ok {
		return a // through the control socket, which only the file's owner can open
	}
	if d.cfg.Authorize != nil {
		a := d.cfg.Authorize(r)
		a.Role = min(max(a.Role, None), Admin)
		a.User = cmp.Or(a.User, "somebody") // the log says who did it, even if nobody knows
		return a
	}
	if isDirect(r) {
		return Access{Role: Admin, User: "local"}
	}
	return Access{}
}

// controlAccess is the key of the Access of the control socket's requests.
type controlAccess struct{}

// forwarding are the headers that proxies add, beside those that begin with
// X-Forwarded.
var forwarding = []string{
	"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Host", "X-Original-Forwarded-For",
	"X-Envoy-External-Address", "Cf-Connecting-Ip", "True-Client-Ip", "Fastly-Client-Ip", "Fly-Client-Ip",
	"Client-Ip", "X-Proxyuser-Ip", "X-Appengine-User-Ip", "Cdn-Loop", "Max-Forwards", "Surrogate-Capability", "X-Amzn-Trace-Id", "X-Varnish",
}

// isDirect says whether a request comes from this machine and not through a
// proxy on it. The name it was sent to has to be this machine's as well: else a
// page of another site could make its own name lead here and then read what
// the browser gets.
//
// A proxy that adds none of its headers, and names this machine as the host,
// still gives itself away where it speaks HTTP/1.0, as nginx long did unless
// told otherwise and no browser does, or passes on the Origin of a page that
// was not served under a name of this machine.
func isDirect(r *http.Request) bool {
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded") || slices.Contains(forwarding, name) {
			return false
		}
	}
	if !r.ProtoAtLeast(1, 1) {
		return false
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || !isLoopbackHost(u.Host) {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback() && isLoopbackHost(r.Host)
}

func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
