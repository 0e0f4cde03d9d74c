package stream

import (
	"context"
	"os"

	"github.com/eddyloop/eddy/internal/park"
)

// Stdin returns the standard input of the process as a Conn to read from. Its
// descriptor stays as it is, also when the Conn is closed: other processes share
// it, and would see it become non-blocking. So on Linux a pipe or a terminal is
// opened a second time; where that is not possible, reads are blocking calls on
// goroutines, as with [Adopt], the last of which stays until there is input. It
// must be called in a task. (asyncio: connect_read_pipe(factory, sys.stdin))
func Stdin(ctx context.Context) (*Conn, error) {
	return standard(ctx, "stream: Stdin", os.Stdin, os.O_RDONLY)
}

// Stdout returns the standard output as a Conn to write to; see [Stdin]. Writes
// that go past it, such as fmt.Println, do not wait for it.
func Stdout(ctx context.Context) (*Conn, error) {
	return standard(ctx, "stream: Stdout", os.Stdout, os.O_WRONLY)
}

// Stderr is Stdout for the standard error.
func Stderr(ctx context.Context) (*Conn, error) {
	return standard(ctx, "stream: Stderr", os.Stderr, os.O_WRONLY)
}

func standard(ctx context.Context, what string, f *os.File, mode int) (*Conn, error) {
	l := park.From(ctx, what).Loop()
	if again, err := reopen(f, mode); err == nil {
		c, err := adoptFD(l, again)
		again.Close()
		if err == nil {
			return c, nil
		}
	}
	if mode == os.O_RDONLY {
		return newPump(l, onlyReader{f}), nil
	}
	return newPump(l, onlyWriter{f}), nil
}

// onlyReader and onlyWriter keep a file from being closed.

type onlyReader struct{ f *os.File }

func (r onlyReader) Read(p []byte) (int, error) { return r.f.Read(p) }

type onlyWriter struct{ f *os.File }

func (w onlyWriter) Write(p []byte) (int, error) { return w.f.Write(p) }
