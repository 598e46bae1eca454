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
		d.route("PUT /api/"+version+"/packets/{name...}", secret, func(env *environment, r *http.Request) (any, error) {
			name := r.PathValue("name")
			if name == "" || len(name) > maxPacking {
				return nil, fail(http.StatusBadRequest, "the packet has no usable name")
			}
			return map[string]string{"presignedUrl": env.packetURL(r, name), "storagePath": name}, nil
		})
	}
	upload("v1")
	upload("v2")
	d.route("GET /api/v1/packets/{name...}", secret, func(env *environment, r *http.Request) (any, error) {
		return map[string]string{"presignedUrl": env.packetURL(r, r.PathValue("name"))}, nil
	})
	d.mux.HandleFunc("PUT /packets/{env}/{name...}", d.signedPacket((*environment).storePacket))
	d.mux.HandleFunc("GET /packets/{env}/{name...}", d.signedPacket((*environment).loadPacket))
}

// packetURL lets its bearer read and write a packet.
func (env *environment) packetURL(r *http.Request, name string) string {
	expires := strconv.FormatInt(env.cfg.Now().Add(urlLife).Unix(), 10)
	return origin(r) + "/packets/" + env.id + "/" + url.PathEscape(name) + "?expires=" + expires + "&sig=" + env.packetSig(name, expires)
}

func (env *environment) packetSig(name, expires string) string {
	return hex.EncodeToString(sign(env.secretKey(), "packet\x00"+name+"\x00"+expires))
}

func secretEqual(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// signedPacket finds the environment and the name of the packet that the URL lets its bearer use.
func (d *Door) signedPacket(h func(env *environment, w http.ResponseWriter, r *http.Request, name string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, q := r.PathValue("name"), r.URL.Query()
		env := d.find(func(env *environment) bool { return env.id == r.PathValue("env") })
		until, err := strconv.ParseInt(q.Get("expires"), 10, 64)
		if err != nil || env == nil || d.cfg.Now().Unix() > until || !secretEqual(env.packetSig(name, q.Get("expires")), q.Get("sig")) {
			d.writeError(w, r, fail(http.StatusForbidden, "The URL has expired or is not valid"))
			return
		}
		h(env, w, r, name)
	}
}

func (env *environment) packetKey(name string) []byte {
	return []byte("\x00trigger\x00" + env.Name + "\x00packet\x00" + name)
}

func (env *environment) storePacket(w http.ResponseWriter, r *http.Request, name string) {
	env.packets.slots <- struct{}{}
	defer func() { <-env.packets.slots }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPacket))
	if err != nil {
		env.writeError(w, r, err)
		return
	}
	value := append([]byte(r.Header.Get("Content-Type")+"\x00"), body...)
	row := engine.RowPut{Table: store.Logs, Key: env.packetKey(name), Value: value, Expires: env.cfg.Now().UnixMilli() + rowLife}
	if err := env.put(r.Context(), row); err != nil {
		env.writeError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (env *environment) loadPacket(w http.ResponseWriter, r *http.Request, name string) {
	value, found, err := env.cfg.Host.Get(r.Context(), store.Logs, env.packetKey(name))
	if err != nil {
		env.writeError(w, r, err)
		return
	}
	typ, body, _ := bytes.Cut(value, []byte{0})
	if !found {
		env.writeError(w, r, fail(http.StatusNotFound, "Packet not found"))
		return
	}
	w.Header().Set("Content-Type", string(typ)) // the client takes the type of the packet from here: T26
	_, _ = w.Write(body)                        // the client is gone, and there is nobody to tell
}
