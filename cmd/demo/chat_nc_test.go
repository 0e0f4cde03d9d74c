//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/eddyloop/eddy/stream"
	"github.com/eddyloop/eddy/task"
)

// nc is a client as good as any.
func TestChatWithNc(t *testing.T) {
	nc, err := exec.LookPath("nc")
	if err != nil {
		t.Log("not run: nc is not installed")
		return
	}
	addr, _, _ := start(t, func(ctx context.Context, out io.Writer) error {
		return task.Run(ctx, func(ctx context.Context) error {
			ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			fmt.Fprintln(out, "listening on", ln.Addr())
			return newRoom(10, false).serve(ctx, ln)
		})
	})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	ann := bufio.NewReader(c)
	hear := func(want string) {
		t.Helper()
		if got, err := ann.ReadString('\n'); got != want+"\n" || err != nil {
			t.Fatalf("ann heard %q, %v, want %q", got, err, want)
		}
	}
	hear(hello)
	fmt.Fprintln(c, "ann")
	hear("* here: ann")

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.CommandContext(ctx, nc, host, port)
	out := newOutput()
	cmd.Stdout = out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.line(t, hello)
	fmt.Fprintln(in, "bob")
	hear("* bob has joined")
	fmt.Fprintln(c, "hello, bob")
	out.line(t, "ann: hello, bob")
	fmt.Fprintln(in, "hello, ann")
	hear("bob: hello, ann")
	fmt.Fprintln(in, "/quit")
	hear("* bob has left")
	out.line(t, "* goodbye!")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("nc: %v", err)
	}
}
