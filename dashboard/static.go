package dashboard

import (
	"bytes"
	"embed"
	"hash/fnv"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed static
var staticFiles embed.FS

var staticRoutes = []route{
	{method: "GET", path: "/static/{name}", role: View, show: (*dashboard).static},
}

// asset is a file that pages use. Styles and scripts that belong to one part of
// the dashboard are files of their own, and sent together.
type asset struct {
	content []byte
	tag     string
}

var assets = sync.OnceValue(func() map[string]asset {
	joined := map[string]*bytes.Buffer{}
	names, err := fs.Glob(staticFiles, "static/*")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for _, file := range names { // sorted: base.css comes before jobs.css
		content, err := staticFiles.ReadFile(file)
		if err != nil {
			panic(err) // it is embedded
		}
		name := path.Base(file)
		switch ext := path.Ext(name); ext {
		case ".css", ".js":
			name = "all" + ext
		}
		if joined[name] == nil {
			joined[name] = &bytes.Buffer{}
		}
		joined[name].Write(content)
	}
	all := map[string]asset{}
	for name, b := range joined {
		sum := fnv.New64a()
		_, _ = sum.Write(b.Bytes())
		all[name] = asset{b.Bytes(), strconv.FormatUint(sum.Sum64(), 36)}
	}
	return all
})

// assetTag names a version of an asset, so that browsers may keep it.
func assetTag(name string) string { return assets()[name].tag }

func (d *dashboard) static(w http.ResponseWriter, r *request) error {
	name := r.PathValue("name")
	a, ok := assets()[name]
	if !ok {
		return missing("there is no file %q", name)
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	h.Set("ETag", `"`+a.tag+`"`)
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	if r.URL.Query().Get("v") != a.tag {
		h.Set("Cache-Control", "no-cache")
	}
	if strings.Contains(r.Header.Get("If-None-Match"), a.tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, _ = w.Write(a.content) // an error means that the reader has gone
	return nil
}
