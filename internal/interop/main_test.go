//go:build unix

package interop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/looptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what happens at once on a good day.
const patience = 15 * time.Second

// run runs fn on a loop with the system's clock.
func run(t *testing.T, fn func(ctx context.Context) error) {
	t.Helper()
	looptest.RunConfig(t, looptest.Config{Real: true}, fn)
}

// elsewhere runs blocking code off the loop, and waits for it.
func elsewhere(ctx context.Context, fn func() error) error {
	_, err := executor.Do(ctx, func(context.Context) (struct{}, error) { return struct{}{}, fn() })
	return err
}

// program looks for a program, and says so if it is not there.
func program(t *testing.T, name string) (path string, ok bool) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Logf("not run: %s is not installed", name)
	}
	return path, err == nil
}

// certificate makes a certificate, also as files for programs: its own authority, and
// its key.
func certificate(t *testing.T) (server, client *tls.Config, certFile, keyFile string) {
	t.Helper()
	server, client = testkit.Certificate(t)
	cert := server.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	testkit.Must(t, err)
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		testkit.Must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	return server, client, file("cert.pem", "CERTIFICATE", cert.Certificate[0]), file("key.pem", "PRIVATE KEY", key)
}

// address is where to listen: a path in a short directory, because those of sockets
// are short, or a port.
func address(t *testing.T, network string) string {
	t.Helper()
	if network != "unix" {
		return "127.0.0.1:0"
	}
	dir, err := os.MkdirTemp("", "eddy")
	testkit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// random returns n bytes, which nobody must change.
func random(n int) []byte { return noise()[:n] }

var noise = sync.OnceValue(func() []byte {
	p := make([]byte, large)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p)
	return p
})

func closeWrite(c net.Conn) error { return c.(interface{ CloseWrite() error }).CloseWrite() }

// echoed sends n bytes with package net, ends its side, and compares what comes back,
// up to the end.
func echoed(c net.Conn, n int) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	sent := random(n)
	writing := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil {
			err = closeWrite(c)
		}
		writing <- err
	}()
	got, err := io.ReadAll(c)
	if werr := <-writing; werr != nil {
		return fmt.Errorf("write: %w", werr)
	}
	return same(got, sent, err)
}

// same reports what is wrong with what was read.
func same(got, want []byte, err error) error {
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", len(got), len(want), err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes, not the %d that were sent", len(got), len(want))
	}
	return nil
}
