//go:build unix

package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
	"github.com/eddyloop/eddy/transport"
)

// tlsVersions are those that both sides have, by openssl's options.
var tlsVersions = []struct {
	option, name string
	version      uint16
}{
	{"-tls1_2", "TLSv1.2", tls.VersionTLS12},
	{"-tls1_3", "TLSv1.3", tls.VersionTLS13},
}

// openssl as the client of an echo: what it types comes back, and it has negotiated
// what it was told to. K makes it ask for new keys in the middle, in TLS 1.3.
func TestOpensslClient(t *testing.T) {
	openssl, ok := program(t, "openssl")
	if !ok {
		return
	}
	server, _, certFile, _ := certificate(t)
	server.NextProtos = []string{"other", "echo/1"}
	for _, kind := range []string{"stream", "transport"} {
		for _, v := range tlsVersions {
			t.Run(kind+v.option, func(t *testing.T) {
				run(t, func(ctx context.Context) error {
					addr, end, err := serveEcho(ctx, kind, "tcp", "127.0.0.1:0", server)
					if err != nil {
						return err
					}
					cmd := exec.Command(openssl, "s_client", "-connect", addr, "-servername", "localhost", v.option,
						"-alpn", "echo/1", "-CAfile", certFile, "-verify_return_error")
					return errors.Join(elsewhere(ctx, func() error { return typeLines(cmd, v.version, v.name) }), end(ctx))
				})
			})
		}
	}
}

// typeLines has openssl send lines, each when the one before has come back.
func typeLines(cmd *exec.Cmd, version uint16, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var problem bytes.Buffer
	cmd.Stderr = &problem
	if err := cmd.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	lines := []string{"one", "two " + strings.Repeat("x", 3000), "three"}
	var said strings.Builder
	r := bufio.NewReader(out)
	for i, line := range lines {
		if i == 2 && version == tls.VersionTLS13 {
			_, _ = io.WriteString(in, "K\n")  // and the answer comes by new keys
			time.Sleep(20 * time.Millisecond) // a command is the first byte of what it reads at once
		}
		_, _ = io.WriteString(in, line+"\n")
		for got := ""; got != line+"\n"; {
			if got, err = r.ReadString('\n'); err != nil {
				_ = cmd.Wait()
				return fmt.Errorf("no %.10q: %w\n%s%s", line, err, &said, &problem)
			}
			said.WriteString(got)
		}
	}
	_ = in.Close()
	rest, _ := io.ReadAll(r)
	said.Write(rest)
	err = cmd.Wait()
	wants := []string{name, "ALPN protocol: echo/1", "Verify return code: 0 (ok)", "DONE"}
	if version == tls.VersionTLS13 {
		wants = append(wants, "KEYUPDATE")
	}
	for _, want := range wants {
		if err == nil && !strings.Contains(said.String()+problem.String(), want) {
			err = fmt.Errorf("openssl does not say %q", want)
		}
	}
	if err != nil {
		return fmt.Errorf("%w\n%s%s", err, &said, &problem)
	}
	return nil
}

// openssl as the server, that sends each line back reversed.
func TestOpensslServer(t *testing.T) {
	openssl, ok := program(t, "openssl")
	if !ok {
		return
	}
	_, client, certFile, keyFile := certificate(t)
	client.NextProtos = []string{"echo/1"}
	for _, v := range tlsVersions {
		t.Run(v.name, func(t *testing.T) {
			cmd := exec.Command(openssl, "s_server", "-accept", "127.0.0.1:0", v.option, "-rev",
				"-cert", certFile, "-key", keyFile, "-alpn", "echo/1")
			addr, stop := startServer(t, cmd)
			defer stop()
			run(t, func(ctx context.Context) error {
				if err := reversedByStream(ctx, addr, client, v.version); err != nil {
					t.Errorf("stream: %v", err)
				}
				if err := reversedByTransport(ctx, addr, client, v.version); err != nil {
					t.Errorf("transport: %v", err)
				}
				return nil
			})
		})
	}
}

// startServer starts openssl, which says "ACCEPT 127.0.0.1:port".
func startServer(t *testing.T, cmd *exec.Cmd) (addr string, stop func()) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			stop()
			t.Fatalf("openssl s_server does not say where it listens: %v", err)
		}
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "ACCEPT "); ok && at != "" {
			return at, stop
		}
	}
}

const (
	asked    = "never odd"
	answered = "ddo reven"
)

func checkState(s tls.ConnectionState, ok bool, version uint16) error {
	if !ok || s.Version != version || s.NegotiatedProtocol != "echo/1" {
		return fmt.Errorf("negotiated %s, %q", tls.VersionName(s.Version), s.NegotiatedProtocol)
	}
	return nil
}

func reversedByStream(ctx context.Context, addr string, cfg *tls.Config, version uint16) error {
	c, err := (&stream.DialConfig{TLS: &stream.TLS{Config: cfg}}).Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetTimeouts(patience, 0)
	s, ok := c.TLS()
	if err := checkState(s, ok, version); err != nil {
		return err
	}
	for range 3 {
		if _, err := c.Write(ctx, []byte(asked+"\n")); err != nil {
			return err
		}
		if line, err := c.ReadLine(ctx); line != answered || err != nil {
			return fmt.Errorf("read %q, %w", line, err)
		}
	}
	return nil
}

// A liner collects what it gets, up to the end of a line, and closes then.
type liner struct {
	transport.Defaults
	t    *transport.Transport
	got  []byte
	lost chan error
}

func (p *liner) Connected(t *transport.Transport) {
	p.t = t
	_ = t.Write([]byte(asked + "\n"))
}

func (p *liner) Data(b []byte) {
	if p.got = append(p.got, b...); bytes.HasSuffix(p.got, []byte("\n")) {
		p.t.Close()
	}
}

func (p *liner) Lost(err error) { p.lost <- err }

func reversedByTransport(ctx context.Context, addr string, cfg *tls.Config, version uint16) error {
	p := &liner{lost: make(chan error, 1)}
	dial := transport.DialConfig{Config: transport.Config{TLS: cfg}}
	t, err := transport.Dial(loop.FromContext(ctx), "tcp", addr, p, dial).Await(ctx)
	if err != nil {
		return err
	}
	s, ok := t.TLS()
	if err := checkState(s, ok, version); err != nil {
		return err
	}
	lost, _, err := task.Recv(ctx, p.lost)
	if err != nil || lost != nil || string(p.got) != answered+"\n" {
		return fmt.Errorf("read %q, lost by %v, %w", p.got, lost, err)
	}
	return nil
}
