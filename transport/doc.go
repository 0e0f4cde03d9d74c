// Package transport has connections that call back: asyncio's transports and
// protocols, for hot paths and for connections that must cost nothing while idle.
//
//	type echo struct {
//		transport.Defaults
//		t *transport.Transport
//	}
//
//	func (e *echo) Connected(t *transport.Transport) { e.t = t }
//	func (e *echo) Data(p []byte)                    { _ = e.t.Write(p) }
//
//	ln, err := transport.Listen(l, "tcp", "127.0.0.1:7777",
//		func() transport.Protocol { return new(echo) }, transport.ListenConfig{})
//
// A [Transport] is the connection, a [Protocol] what is called as it goes on; a
// [Listener] makes both for each connection that arrives. [Dial] makes a connection,
// [Adopt] takes one that exists already, also a pipe or a terminal. Datagrams have a
// [PacketTransport] and a [PacketProtocol].
//
// For code that reads like code see package stream: what is here is faster, and an
// idle connection owns neither a buffer nor a stack, but what it is in the middle of
// has to be kept in the protocol.
//
// # Rules
//
// Everything belongs to the loop it was made on, must be used on it, and returns at
// once. The methods of protocols are called one at a time, from the loop's queue, and
// never by the call that causes them; only PauseWriting is called from within Write. They
// must not block. They run in the context in which Listen, Dial or Adopt was called, but
// for its scope, so tasks can be started with [loop.Loop.Context].
//
// A protocol that panics loses its connection; the loop reports it and goes on.
//
// # Bounds
//
// A connection is read once a turn, 64 KB at most, so one that always has data keeps
// nobody from theirs. What a peer does not take is buffered up to a bound, 16 MB unless
// [Config.MaxBuffered] says otherwise, and a [Pauser] hears of it long before.
//
// What Data is given belongs to the loop and is used again for the next connection.
// In builds with the race detector, or with the tag eddypoison, it is overwritten
// as soon as Data returns, so that a protocol that keeps it finds out.
//
// # Errors
//
// What ends a connection is given to Lost: mostly a *net.OpError, in which errors.Is
// finds syscall.ECONNRESET and the like. What the peer sent before it went is read first.
package transport
