// Package datagram has UDP and unix datagram sockets for tasks.
//
// A [Conn] is a UDP socket, a [UnixConn] one with a path. [Listen] makes a Conn
// that hears everybody and writes to an address; [Dial] one that is connected: it
// hears its peer only, and is told by the system when that is not there.
//
// # Errors are news of one datagram
//
// A datagram that is too long is an error of its Write. What the network says of
// a datagram that was sent, that nobody listens for example, is an error of the
// next call, of Read or Write. Neither ends the socket: the call after it works.
// Only net.ErrClosed, and what ends the task, is for good.
//
// A datagram that is longer than the buffer of its Read is cut, and comes with
// [ErrTruncated]. Which datagrams were lost nobody knows; how many did not fit into
// the socket's buffer Linux tells: [Stats].
//
// # Addresses
//
// Those of UDP are netip.AddrPort: nothing is allocated for a datagram, on Linux.
// IPv4 addresses are IPv4, also of a socket that takes both. Those of unix sockets
// are strings, a path or an abstract name of Linux that begins with "@", empty for
// a sender without one. LocalAddr and RemoteAddr give any as a net.Addr.
//
// # Waiting
//
// One task at a time may wait to read, and one to write. After 64 operations
// without a wait, or 256 KB, a socket makes its task give way, so a flood of
// datagrams starves nobody.
package datagram
