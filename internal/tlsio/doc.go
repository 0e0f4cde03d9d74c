// Package tlsio drives crypto/tls from a loop: nothing in it waits.
//
// An [Engine] stands between an owner, who has the socket, and a tls.Conn. What
// the peer sent goes in by [Engine.Feed] and through the [Carrier]; what the peer
// is to be sent comes out by [Engine.Pending]. A step that needs more than there
// is answers netfd.ErrWouldBlock, and the owner waits as for a bare socket.
//
// # Why not a net.Conn that suspends
//
// crypto/tls holds mutexes while it reads and writes. A task suspended below it
// would keep them, and the next task to come, perhaps one that only writes, would
// block the loop's goroutine for good. So no lock of crypto/tls is ever held
// across a suspension, except that of a handshake, when nobody else has a reason
// to come:
//
//   - The handshake of crypto/tls cannot be retried: an error of it is for ever.
//     So it runs on a stack of its own, which is put aside when the bytes are used
//     up, and given back at the end.
//   - After it, a read that finds nothing fails with a temporary net.Error.
//     crypto/tls keeps what it has of a record, keeps no such error, and goes on
//     from there at the next call.
//   - Writes only append to a buffer.
//
// # The owner's part
//
// Flush, after every call, until Pending is empty: a failed handshake leaves an
// alert there, a handshake that is done its last flight, and reads leave answers
// to key updates.
//
//	for {
//		err := e.Handshake()
//		flush() // write e.Pending(), e.Advance; wait for room
//		if err != netfd.ErrWouldBlock {
//			return err
//		}
//		// wait for the socket
//		e.Feed(buf[:n]) // or, at its end, e.FeedEOF()
//	}
//
// Then [Engine.TryRead] reads what [Carrier.TryRead] gives; it has emptied the
// socket when it answers netfd.ErrWouldBlock, and not before. Data is written in
// chunks of 16 KB, a record, each flushed before the next is encrypted, so that
// Pending holds some 17 KB at most.
package tlsio
