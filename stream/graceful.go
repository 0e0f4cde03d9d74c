package stream

import (
	"context"
	"io"
	"net"
)

// CloseGraceful closes the connection so that the peer gets all that was written:
// it ends the stream ([Conn.CloseWrite]), reads and drops what the peer still
// sends, up to limit bytes, until the peer has ended its stream as well, and
// closes. Close alone would reset the connection if anything is unread. It always
// closes; the error tells that the end was not a clean one: io.ErrShortBuffer if
// the peer sent more than limit, the interruption if ctx ended first, or one of the
// system.
//
// Cancel safety: the connection is closed.
func (c *Conn) CloseGraceful(ctx context.Context, limit int64) error {
	defer c.Close()
	if c.Closed() {
		return c.opError("close", net.ErrClosed)
	}
	err := c.flushed(ctx)
	if err == nil {
		err = c.CloseWrite()
	}
	if err == nil {
		err = c.flushed(ctx)
	}
	if err != nil || c.Closed() { // as a pipe is by CloseWrite
		return err
	}
	buf := c.buffers().get()
	defer c.buffers().put(buf)
	for {
		n, err := c.Read(ctx, buf.b)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if limit -= int64(n); limit < 0 {
			return io.ErrShortBuffer
		}
	}
}

// flushed waits until the Writer, and a layer, have sent what they hold.
func (c *Conn) flushed(ctx context.Context) error {
	if w := c.writer(); w != nil && w.out != nil {
		if err := w.Flush(ctx); err != nil {
			return err
		}
	}
	for {
		// Of TLS, CloseWrite tells: later only its alert can be lost, and that the peer
		// has gone already is no harm.
		if p, ok := c.layered().(*pump); ok && p.werr != nil {
			return c.opError("write", p.werr)
		}
		f, ok := c.layered().(interface{ Unsent() int })
		if !ok || f.Unsent() == 0 || c.Closed() {
			return nil
		}
		if err := c.waitWritable(ctx, nil); err != nil {
			return err
		}
	}
}

// Abort closes the connection at once: nothing more is sent, and the peer of a
// socket is told of a reset. Whoever waits gets net.ErrClosed.
// (asyncio: Transport.abort)
func (c *Conn) Abort() error {
	y, ok := c.layered().(interface{ Abort() })
	if !ok {
		c.fd.Reset()
		return c.Close()
	}
	was := c.Closed() // and may still be sending
	y.Abort()
	if !was { // Close would tell nobody, because it is closed
		c.closed()
	}
	return nil
}
