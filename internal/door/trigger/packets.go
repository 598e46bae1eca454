package trigger

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/quartetjobs/quartet/internal/engine"
	"github.com/quartetjobs/quartet/internal/store"
)

// Section 5.3: packets that are too large for a request are stored under a name first. Whoever has the URL may use it until it expires.

const (
	maxPacket  = 16 << 20
	urlLife    = time.Hour
	maxPacking = 1024 // bytes of a name
)

// packets bounds how many packets are read into memory at once.
type packets struct{ slots chan struct{} }

func (d *Door) packetRoutes() {
	d.packets.slots = make(chan struct{}, 8)
	upload := func(version string) {
		d.route("PUT /api/"+version+"/packets/{name...}", secret, func(d *Door, r *http.Request) (any, error) {
			name := r.PathValue("name")
			if name == "" || len(name) > maxPacking {
				return nil, fail(http.StatusBadRequest, "the packet has no usable name")
			}
			return map[string]string{"presignedUrl": d.packetURL(r, name), "storagePath": name}, nil
		})
	}
	upload("v1")
	upload("v2")
	d.route("GET /api/v1/packets/{name...}", secret, func(d *Door, r *http.Request) (any, error) {
		return map[string]string{"presignedUrl": d.packetURL(r, r.PathValue("name"))}, nil
	})
	d.mux.HandleFunc("PUT /packets/{name...}", d.storePacket)
	d.mux.HandleFunc("GET /packets/{name...}", d.loadPacket)
}

// packetURL lets its bearer read and write a packet.
func (d *Door) packetURL(r *http.Request, name string) string {
	expires := strconv.FormatInt(d.cfg.Now().Add(urlLife).Unix(), 10)
	return origin(r) + "/packets/" + url.PathEscape(name) + "?expires=" + expires + "&sig=" + d.packetSig(name, expires)
}

func (d *Door) packetSig(name, expires string) string {
	return hex.EncodeToString(sign(d.secretKey(), "packet\x00"+name+"\x00"+expires))
}

func secretEqual(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// packetName is the name of a packet that the request may use.
func (d *Door) packetName(w http.ResponseWriter, r *http.Request) (string, bool) {
	name, q := r.PathValue("name"), r.URL.Query()
	until, err := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || d.cfg.Now().Unix() > until || !secretEqual(d.packetSig(name, q.Get("expires")), q.Get("sig")) {
		d.writeError(w, r, fail(http.StatusForbidden, "The URL has expired or is not valid"))
		return "", false
	}
	return name, true
}

func (d *Door) packetKey(name string) []byte {
	return []byte("\x00trigger\x00" + d.cfg.Env + "\x00packet\x00" + name)
}

func (d *Door) storePacket(w http.ResponseWriter, r *http.Request) {
	name, ok := d.packetName(w, r)
	if !ok {
		return
	}
	d.packets.slots <- struct{}{}
	defer func() { <-d.packets.slots }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPacket))
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	value := append([]byte(r.Header.Get("Content-Type")+"\x00"), body...)
	row := engine.RowPut{Table: store.Logs, Key: d.packetKey(name), Value: value, Expires: d.cfg.Now().UnixMilli() + rowLife}
	if _, err := d.cfg.Host.Submit(r.Context(), &engine.Put{Rows: []engine.RowPut{row}}); err != nil {
		d.writeError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (d *Door) loadPacket(w http.ResponseWriter, r *http.Request) {
	name, ok := d.packetName(w, r)
	if !ok {
		return
	}
	value, found, err := d.cfg.Host.Get(r.Context(), store.Logs, d.packetKey(name))
	if err != nil {
		d.writeError(w, r, err)
		return
	}
	typ, body, _ := bytes.Cut(value, []byte{0})
	if !found {
		d.writeError(w, r, fail(http.StatusNotFound, "Packet not found"))
		return
	}
	w.Header().Set("Content-Type", string(typ)) // the client takes the type of the packet from here: T26
	_, _ = w.Write(body)                        // the client is gone, and there is nobody to tell
}
