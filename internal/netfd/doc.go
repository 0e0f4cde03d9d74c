// Package netfd has non-blocking stream sockets for code on a loop: descriptors
// that are registered once, edge-triggered, for both directions, and tried
// before they are waited for.
//
// An [FD] knows of each direction whether trying is worthwhile. It starts a
// system call only then, so no call is spent on being told "not yet". Waiting is
// its owner's business: the owner says what it wants ([FD.WantRead]), is told by
// the loop through its [loop.Sink], and asks [FD.Note] whom to wake.
//
// # When is a socket drained
//
// An edge is reported when something arrives, not while it is there. So whoever
// was told of an edge must go on until the socket is empty before he waits again.
// A read that says EAGAIN proves that it is empty; so does a read that came back
// short, and it saves the second call, a fifth of an echo's cost. What arrives
// after such a read makes an edge of its own.
//
// The exception is what arrives without an edge to come: the end of the stream,
// or an error, that an event has announced already. Data is handed out before
// both, so a short read says nothing about them. After an event with a hang-up or
// a failure the socket is read on to EOF, to the error or to EAGAIN. An end that
// no event has announced yet has its edge on the way.
//
// Two more reads can be short. A peer that sends urgent data makes a read end at
// its mark, and may wait in vain; it hurts itself only. A unix socket's read ends
// at passed descriptors: whoever receives those must read on to EAGAIN.
//
// A write that was short has filled the socket; the kernel makes an edge when
// there is room again. An error met by a write is an error or an edge, too.
//
// # System calls
//
// A call through package syscall is announced to the Go scheduler, whose monitor
// takes the P away from whoever is in one for long: measured, that costs a third
// of an echo server's throughput. These calls never block, so on Linux they are
// raw. They hold the P, and so delay a garbage collection: so one call moves
// maxIO bytes at most. recvfrom and sendto are 50 ns cheaper than read and write,
// which go through the file layer.
//
// The race detector takes a write and a read through package syscall for
// synchronization, and knows nothing of raw calls. Users' tests that synchronize
// through a socket would report races that are none, so race builds use package
// syscall.
package netfd
