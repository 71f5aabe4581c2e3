package dashboard

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// Exports and backups have the args of all jobs as they are, so they are for
// Admins, and each is in the action log, also one that was broken off.
var apiExportRoutes = []route{
	{method: "GET", path: "/api/v1/export", role: Admin, show: (*dashboard).apiExport, stream: true},
	{method: "GET", path: "/api/v1/backup", role: Admin, show: (*dashboard).apiBackup, stream: true},
}

func (d *dashboard) apiExport(w http.ResponseWriter, r *request) error {
	return d.sendFile(w, r, "export", ".jsonl", "application/x-ndjson", func(ctx context.Context, to io.Writer) error {
		return d.q.Export(ctx, to, nil)
	})
}

func (d *dashboard) apiBackup(w http.ResponseWriter, r *request) error {
	return d.sendFile(w, r, "backup", ".db", "application/octet-stream", func(ctx context.Context, to io.Writer) error {
		_, err := d.q.Backup(ctx, to)
		return err
	})
}

// sendFile streams what write writes, as a file to be kept.
func (d *dashboard) sendFile(w http.ResponseWriter, r *request, verb, extension, contentType string, write func(context.Context, io.Writer) error) error {
	base := filepath.Base(d.file)
	name := fmt.Sprintf("%s-%s%s", strings.TrimSuffix(base, filepath.Ext(base)), time.Now().UTC().Format("20060102-150405"), extension)
	file := &download{w: w, control: r.control, name: name, contentType: contentType}
	err := write(r.Context(), file)
	d.logAction(r, outcome{verb: verb, target: "file " + base, note: byteSize(file.sent) + " sent"}, err)
	if err != nil && file.sent > 0 {
		panic(http.ErrAbortHandler) // so that nobody takes a part of it for the whole
	}
	return err
}

// download is an answer that is saved as a file. It begins with the first
// byte: until then an error can be answered.
type download struct {
	w                 http.ResponseWriter
	control           *http.ResponseController
	name, contentType string
	sent              int64
}

// downloadTimeout is for one write to be taken. The server's own WriteTimeout
// would be for all of them together.
const downloadTimeout = time.Minute

func (f *download) Write(b []byte) (int, error) {
	if f.sent == 0 && len(b) > 0 {
		f.w.Header().Set("Content-Type", f.contentType)
		f.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.name}))
	}
	_ = f.control.SetWriteDeadline(time.Now().Add(downloadTimeout)) // what cannot, has none
	n, err := f.w.Write(b)
	f.sent += int64(n)
	return n, err
}
