package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
)

// certificate makes files of a certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool = x509.NewCertPool()
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, key, pool
}

func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	s, err := New(t.Context(), Config{
		Listen: "127.0.0.1:0", Data: ":memory:", Log: slog.New(slog.DiscardHandler),
		Keys:  auth.Keys{Dev: true, Environments: []auth.Environment{{Name: auth.DefaultEnvironment}}},
		Redis: Redis{Listen: "127.0.0.1:0", TLSCert: cert, TLSKey: key},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	<-s.Ready()
	if !strings.HasPrefix(s.RedisURL(), "rediss://127.0.0.1:") {
		t.Errorf("the URL is %s", s.RedisURL())
	}
	c, err := tls.Dial("tcp", s.redisLn.Addr().String(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "BZPOPMIN z 0.05\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{"*-1\r\n", "+PONG\r\n"} { // the reader is woken from a blocked read, over TLS too
		if line, err := r.ReadString('\n'); line != want {
			t.Errorf("%q, %v, want %q", line, err, want)
		}
	}
	for path, want := range map[string]string{"/readyz": "ready", "/metrics": "quartet_redis_connections 1"} {
		r, err := http.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v, %s", path, r.StatusCode, err, body)
		}
	}
}
