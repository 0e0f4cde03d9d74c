//go:build unix

package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// serveHTTP is a server of HTTP/1.1 in a task, made of the pieces of net/http that
// do not need goroutines.
func serveHTTP(ctx context.Context, c *stream.Conn) error {
	nc := c.NetConn(ctx)
	r := bufio.NewReader(nc)
	for {
		req, err := http.ReadRequest(r)
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if req.Header.Get("Expect") == "100-continue" {
			if _, err := io.WriteString(nc, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return err
			}
		}
		resp, err := answer(req)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(nc)
		if err := resp.Write(w); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if resp.Close {
			return nil
		}
	}
}

// answer says what was asked, and sends back what was sent.
func answer(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	said := fmt.Appendf(nil, "%s %s %v %s", req.Method, req.URL.Path, req.TransferEncoding, body)
	resp := &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: req.ProtoMajor, ProtoMinor: req.ProtoMinor,
		Request: req, Close: req.Close, Header: http.Header{"X-Length": {fmt.Sprint(len(body))}},
		ContentLength: int64(len(said)), Body: io.NopCloser(bytes.NewReader(said)),
	}
	if req.URL.Path == "/chunked" {
		resp.ContentLength, resp.TransferEncoding = -1, []string{"chunked"}
	}
	return resp, nil
}

// curlCases are what curl does, with URL for the server's.
var curlCases = []struct {
	name  string
	args  string
	stdin string
	want  string // all that it prints
}{
	{"get", "URL/a", "", "GET /a [] "},
	{"keep-alive", "-w |%{num_connects}|\\n URL/a URL/b URL/c", "", "GET /a [] |1|\nGET /b [] |0|\nGET /c [] |0|\n"},
	{"1.0", "-0 -w |%{num_connects}|\\n URL/a URL/b", "", "GET /a [] |1|\nGET /b [] |1|\n"},
	{"close", "-H Connection:close -w |%{num_connects}|\\n URL/a URL/b", "", "GET /a [] |1|\nGET /b [] |1|\n"},
	{"post", "--data-binary @- URL/p", "body", "POST /p [] body"},
	{"large post", "--data-binary @- URL/p", long, "POST /p [] " + long},
	{"chunked post", "-H Transfer-Encoding:chunked --data-binary @- URL/p", long, "POST /p [chunked] " + long},
	{"continue", "-H Expect:100-continue --data-binary @- URL/p", "body", "POST /p [] body"},
	{"chunked answer", "-w |%{http_code}|%{http_version}|%{size_download} URL/chunked", "", "GET /chunked [] |200|1.1|16"},
	{"head", "-I -w |%{http_code}|%{num_connects}|\\n -o /dev/null -o /dev/null URL/h URL/chunked", "", "|200|1|\n|200|0|\n"},
	{"head and get", "-I -o /dev/null URL/h --next -w |%{num_connects}| URL/g", "", "GET /g [] |0|"},
}

var long = strings.Repeat("0123456789abcdef", 1<<16) // a megabyte

func curlAll(ctx context.Context, t *testing.T, curl, url string, more ...string) error {
	for _, tt := range curlCases {
		always := append([]string{"-s", "-S", "-m", "15"}, more...)
		args := slices.Clone(always)
		for _, arg := range strings.Fields(tt.args) {
			args = append(args, strings.ReplaceAll(arg, "URL", url))
			if arg == "--next" { // what is said before holds for what is before
				args = append(args, always...)
			}
		}
		cmd := exec.Command(curl, args...)
		cmd.Stdin = strings.NewReader(tt.stdin)
		var out, problem bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problem
		if err := elsewhere(ctx, cmd.Run); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v %s\ngot  %.200q (%d)\nwant %.200q (%d)", tt.name, err, &problem, &out, out.Len(), tt.want, len(tt.want))
		}
	}
	return nil
}

func TestCurl(t *testing.T) {
	curl, ok := program(t, "curl")
	if !ok {
		return
	}
	server, _, certFile, _ := certificate(t)
	for _, tt := range []struct {
		name, network string
		cfg           stream.ServeConfig
	}{
		{"tcp", "tcp", stream.ServeConfig{}},
		{"unix", "unix", stream.ServeConfig{}},
		{"tls", "tcp", stream.ServeConfig{TLS: &stream.TLS{Config: server}}},
		{"tls off the loop", "tcp", stream.ServeConfig{TLS: &stream.TLS{Config: server, OffLoop: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				ln, err := stream.Listen(ctx, tt.network, address(t, tt.network))
				if err != nil {
					return err
				}
				serving := task.Go(ctx, func(ctx context.Context) error { return tt.cfg.Serve(ctx, ln, serveHTTP) })
				switch {
				case tt.network == "unix":
					err = curlAll(ctx, t, curl, "http://localhost", "--unix-socket", ln.Addr().String())
				case tt.cfg.TLS != nil:
					err = curlAll(ctx, t, curl, "https://"+ln.Addr().String(), "--cacert", certFile)
				default:
					err = curlAll(ctx, t, curl, "http://"+ln.Addr().String())
				}
				ln.Close()
				ln.CloseClients()
				if _, serr := serving.Await(ctx); err == nil {
					err = serr
				}
				return err
			})
		})
	}
}

// httpServer is net/http's server, that says what serveHTTP does.
func httpServer() *http.Server {
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Length", fmt.Sprint(len(body)))
		if req.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		_, _ = fmt.Fprintf(w, "%s %s %v %s", req.Method, req.URL.Path, req.TransferEncoding, body)
	})}
}

// net/http's server reads and writes on goroutines of its own: over Blocking views.
func TestHTTPServerOnBlockingListener(t *testing.T) {
	server, client, certFile, keyFile := certificate(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				srv, view := httpServer(), ln.Blocking()
				srv.TLSConfig = server.Clone()
				served := make(chan error, 1)
				go func() {
					if secure {
						served <- srv.ServeTLS(view, certFile, keyFile)
					} else {
						served <- srv.Serve(view)
					}
				}()
				url := "http://" + ln.Addr().String()
				if secure {
					url = "https://" + ln.Addr().String()
				}
				transport := &http.Transport{TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true}
				major := map[bool]int{false: 1, true: 2}[secure]
				if err := elsewhere(ctx, func() error { return requests(&http.Client{Transport: transport}, url, major) }); err != nil {
					t.Error(err)
				}
				if curl, ok := program(t, "curl"); ok && !secure {
					testkit.Must(t, curlAll(ctx, t, curl, url))
				}
				return elsewhere(ctx, func() error {
					transport.CloseIdleConnections()
					if err := srv.Shutdown(context.Background()); err != nil {
						return err
					}
					if err := <-served; !errors.Is(err, http.ErrServerClosed) {
						return err
					}
					return nil
				})
			})
		})
	}
}

// requests makes some with net/http's client, at once, and looks at the answers.
func requests(c *http.Client, url string, major int) error {
	defer c.CloseIdleConnections()
	const n = 20
	failed := make(chan error, n)
	for i := range n {
		go func() { failed <- request(c, url, strings.Repeat(fmt.Sprint(i%10), 1+i*10_000), major) }()
	}
	var first error
	for range n {
		if err := <-failed; first == nil {
			first = err
		}
	}
	return first
}

func request(c *http.Client, url, body string, major int) error {
	resp, err := c.Post(url+"/p", "text/plain", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if resp.ProtoMajor != major {
		return fmt.Errorf("spoke %s, want HTTP/%d", resp.Proto, major)
	}
	return same(got, []byte("POST /p [] "+body), err)
}

// net/http's client talks with a server in tasks, over TLS.
func TestHTTPClientToStreamTLS(t *testing.T) {
	server, client := testkit.Certificate(t)
	server.NextProtos = []string{"http/1.1"}
	run(t, func(ctx context.Context) error {
		ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		cfg := stream.ServeConfig{TLS: &stream.TLS{Config: server}}
		serving := task.Go(ctx, func(ctx context.Context) error { return cfg.Serve(ctx, ln, serveHTTP) })
		hc := &http.Client{Transport: &http.Transport{TLSClientConfig: client, ForceAttemptHTTP2: true}}
		url := "https://" + ln.Addr().String()
		err = elsewhere(ctx, func() error { return requests(hc, url, 1) })
		if serr := ln.Shutdown(ctx); err == nil {
			err = serr
		}
		if _, serr := serving.Await(ctx); err == nil {
			err = serr
		}
		return err
	})
}

// net/http's client and server talk over connections that eddy has dialed: plain and
// by TLS, in Blocking views.
func TestHTTPTransportOnBlockingConns(t *testing.T) {
	server, client := testkit.Certificate(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			run(t, func(ctx context.Context) error {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				srv := httpServer()
				srv.TLSConfig = server.Clone()
				served := make(chan error, 1)
				cfg := new(stream.DialConfig)
				url := "http://" + ln.Addr().String()
				if secure {
					cfg.TLS = &stream.TLS{Config: client}
					go func() { served <- srv.ServeTLS(ln, "", "") }()
				} else {
					go func() { served <- srv.Serve(ln) }()
				}
				hc := &http.Client{Transport: &http.Transport{DialContext: dialer(ctx, cfg)}}
				if secure {
					url = "https://" + ln.Addr().String()
					hc.Transport = &http.Transport{DialTLSContext: dialer(ctx, cfg)}
				}
				err = elsewhere(ctx, func() error { return requests(hc, url, 1) })
				return errors.Join(err, elsewhere(ctx, func() error {
					if err := srv.Close(); err != nil {
						return err
					}
					<-served
					return nil
				}))
			})
		})
	}
}

// dialer dials on the loop of ctx, for goroutines.
func dialer(ctx context.Context, cfg *stream.DialConfig) func(context.Context, string, string) (net.Conn, error) {
	l := task.FromContext(ctx).Loop()
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return task.CallThreadsafe(ctx, l, func(ctx context.Context) (net.Conn, error) {
			c, err := cfg.Dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return c.Blocking(), nil
		})
	}
}
