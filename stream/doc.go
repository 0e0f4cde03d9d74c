// Package stream has byte streams that are read and written with plain code: TCP
// and unix connections, TLS, pipes and whatever else is adopted, and servers that
// run a task for each.
//
//	ln, err := stream.Listen(ctx, "tcp", "127.0.0.1:7777")
//	...
//	err = ln.Serve(ctx, func(ctx context.Context, c *stream.Conn) error {
//		for line, err := range c.Lines(ctx) {
//			if err != nil {
//				return err
//			}
//			if _, err := c.Write(ctx, []byte(line+"\n")); err != nil {
//				return err
//			}
//		}
//		return nil
//	})
//
// A [Conn] is tried first and waited for only when the system has nothing, or no
// room. It reads straight into the caller's memory; an idle connection owns no
// buffer. (A handler's own buffer counts: a local one of constant size lives on
// the stack of its task, which grows for it and stays so.) There are several ways to
// use one:
//
//   - Read, Write, ReadLine in the body of a task, which suspends;
//   - TryRead and TryWrite in callbacks and machines, which wait for [Conn.Readable]
//     and [Conn.Writable];
//   - [Reader] and [Writer], asyncio's StreamReader and StreamWriter, with limits and
//     watermarks;
//   - [Conn.NetConn], a net.Conn, for code that was written for package net and runs
//     in the task; [Conn.Blocking], one for other goroutines.
//
// A server bounds its connections and their time by a [ServeConfig], and ends by
// [Listener.Close], [Listener.Shutdown] or [Listener.Abort].
//
// # Rules
//
// A Conn and a Listener belong to the loop they were made on, and must be used on
// it. In each direction one task may wait at a time; a second gets [ErrBusy].
// Closing ends every wait with net.ErrClosed, and so does closing the loop.
//
// A connection that always has data, or room, does not keep the loop from its
// other work: after some 256 KB or 64 operations without a wait the task gives
// way for a turn.
//
// # Errors
//
// The end of a stream is io.EOF. What the system reports is a *net.OpError, as of
// package net: errors.Is finds syscall.ECONNRESET and the like. A cancellation is
// returned as it is.
package stream
