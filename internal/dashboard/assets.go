package dashboard

import (
	"bytes"
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// assets serves the built web application: files with hashed names for ever, index.html never from a cache, and for any
// path of the application itself index.html. Compressed twins are served where the browser takes them.
type assets struct{ files fs.FS }

func newAssets() *assets {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("BUG: dashboard: " + err.Error())
	}
	return &assets{files}
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		writeError(w, http.StatusNotFound, "no such endpoint: "+r.Method+" "+r.URL.Path)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" || !a.has(name) {
		if path.Ext(name) != "" && strings.HasPrefix(name, "assets/") {
			http.NotFound(w, r)
			return
		}
		name = "index.html"
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if strings.HasPrefix(name, "assets/") {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
	}
	if typ := mime.TypeByExtension(path.Ext(name)); typ != "" {
		h.Set("Content-Type", typ)
	}
	h.Add("Vary", "Accept-Encoding")
	file := name
	for _, enc := range []struct{ name, ext string }{{"br", ".br"}, {"gzip", ".gz"}} {
		if strings.Contains(r.Header.Get("Accept-Encoding"), enc.name) && a.has(name+enc.ext) {
			h.Set("Content-Encoding", enc.name)
			file = name + enc.ext
			break
		}
	}
	content, err := fs.ReadFile(a.files, file)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}

func (a *assets) has(name string) bool {
	info, err := fs.Stat(a.files, name)
	return err == nil && !info.IsDir()
}
