package transport

import (
	"fmt"
	"net"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/loop"
)

// maxFlush is how many blocks are written in a turn.
const maxFlush = 8

// Write writes p, without blocking: as much as there is room for at once, the rest
// when there is. p is the caller's again when Write returns.
//
// When a [Pauser] has more buffered than its high limit, Write calls its
// PauseWriting. Write returns [ErrBufferFull] if p would not fit the buffer even if
// nothing could be written at once; then nothing was written. It returns
// net.ErrClosed when the transport is closing, or lost: p is dropped, and from the
// fifth time on the loop's OnError is told, because somebody does not look. It
// returns [ErrWriteClosed] after CloseWrite, [ErrBusy] while a file is sent, and what
// the system says. After that error the buffer is dropped, what has arrived is still
// read, and Lost gets the error, too. So an error need not be looked at.
// (asyncio: write)
func (t *Transport) Write(p []byte) error {
	if t.flags&unwritable != 0 {
		return t.writeOdd(p)
	}
	if len(p) > t.limits.max-t.out.size {
		return ErrBufferFull
	}
	if t.out.size > 0 {
		t.out.put(p, &t.hub.spare)
		t.checkFull()
		return nil
	}
	t.hub.l.CheckGoroutine("Transport.Write")
	n, err := t.fd.TryWrite(p)
	if n == len(p) {
		return nil
	}
	return t.sendRest(p, n, err)
}

// send writes p, which is to go out next.
func (t *Transport) send(p []byte) error {
	n, err := t.fd.TryWrite(p)
	return t.sendRest(p, n, err)
}

// sendRest goes on when n bytes of p are written.
func (t *Transport) sendRest(p []byte, n int, err error) error {
	if n == len(p) {
		return nil
	}
	for tries := 1; err == nil && t.fd.Writable() && tries < maxFlush; tries++ {
		var k int
		k, err = t.fd.TryWrite(p[n:])
		if n += k; n == len(p) {
			return nil
		}
	}
	if err != nil && err != netfd.ErrWouldBlock {
		return t.writeFailed(err)
	}
	t.out.put(p[n:], &t.hub.spare)
	t.awaitRoom()
	t.checkFull()
	return nil
}

// WriteAll is Write of several pieces, with one system call for up to 32 of them
// where the system has one. It writes all or, if it returns [ErrBufferFull], nothing.
// (asyncio: writelines)
func (t *Transport) WriteAll(pieces [][]byte) error {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	switch {
	case t.flags&unwritable&^encrypted != 0:
		return t.writeOdd(nil)
	case size > t.limits.max-t.out.size:
		return ErrBufferFull
	case t.flags&encrypted != 0:
		for _, p := range pieces {
			t.out.put(p, &t.hub.spare)
		}
		return t.pushTLS()
	}
	t.hub.l.CheckGoroutine("Transport.WriteAll")
	n := 0
	if t.out.size == 0 {
		var err error
		for tries := 0; n < size && err == nil && t.fd.Writable() && tries < maxFlush; tries++ {
			var k int
			k, err = t.fd.TryWritev(pieces)
			n += k
			pieces = after(pieces, k)
		}
		if err != nil && err != netfd.ErrWouldBlock {
			return t.writeFailed(err)
		}
	}
	return t.putAll(pieces, size-n)
}

// after returns pieces without their first n bytes. It leaves the caller's slice
// alone, which costs a copy of what is left only where a piece was cut.
func after(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces = append([][]byte{pieces[0][n:]}, pieces[1:]...)
	}
	return pieces
}

// putAll buffers the rest of what is written.
func (t *Transport) putAll(pieces [][]byte, size int) error {
	if size == 0 {
		return nil
	}
	empty := t.out.size == 0
	for _, p := range pieces {
		t.out.put(p, &t.hub.spare)
	}
	if empty {
		t.awaitRoom()
	}
	t.checkFull()
	return nil
}

// writeOdd is Write when something stands in its way.
func (t *Transport) writeOdd(p []byte) error {
	switch {
	case t.flags&(eofOut|readOnly) != 0 && t.flags&(closing|failed|lost) == 0:
		return ErrWriteClosed
	case t.flags&(closing|losing|lost|failed) != 0:
		return t.dropWrite()
	case t.flags&sending != 0:
		return ErrBusy
	}
	return t.writeTLS(p)
}

// tooManyDrops is asyncio's LOG_THRESHOLD_FOR_CONNLOST_WRITES.
const tooManyDrops = 5

// dropWrite counts a write that nobody will read.
func (t *Transport) dropWrite() error {
	x := t.extra()
	x.dropped++
	if x.dropped >= tooManyDrops {
		t.hub.l.Report(&loop.CallError{
			Op: "transport", Name: t.String(),
			Err: fmt.Errorf("write number %d to a lost connection was dropped: %w", x.dropped, net.ErrClosed),
		})
	}
	return net.ErrClosed
}

// Dropped returns how many writes were dropped because the transport was closing, or
// lost.
func (t *Transport) Dropped() int {
	if t.more == nil {
		return 0
	}
	return t.more.dropped
}

// writeFailed ends the write side for good. What the peer sent before it went is
// still read, and then Lost gets the error.
func (t *Transport) writeFailed(err error) error {
	err = t.opError("write", err)
	t.dropOut()
	t.flags |= failed
	t.extra().err = err
	if t.flags&sending != 0 {
		t.more.sendfile.stop(err)
	}
	if netfd.Disconnected(err) && t.reads() && !t.shaking() {
		t.fd.HintEnd()
		t.schedule()
	} else {
		t.lose(err)
	}
	return err
}

// dropOut forgets what is buffered.
func (t *Transport) dropOut() { t.out.clear(&t.hub.spare) }

// awaitRoom arranges for the next flush.
func (t *Transport) awaitRoom() {
	if t.fd.Writable() {
		t.schedule()
	} else {
		t.fd.WantWrite()
	}
}

// flush writes what is buffered, a bounded amount of it.
func (t *Transport) flush() {
	if t.flags&(losing|failed) != 0 {
		return
	}
	all := false
	if t.flags&encrypted != 0 {
		all = t.flushTLS()
	} else {
		all = t.flushPlain()
	}
	if t.flags&(losing|failed) == 0 {
		t.checkEmpty()
	}
	if all && t.out.size == 0 && t.flags&losing == 0 {
		t.drained()
	}
}

// flushPlain reports whether it has written all.
func (t *Transport) flushPlain() bool {
	for range maxFlush {
		if t.out.size == 0 || !t.fd.Writable() {
			break
		}
		n, err := t.fd.TryWrite(t.out.front())
		if err != nil && err != netfd.ErrWouldBlock {
			_ = t.writeFailed(err) // Lost gets it
			return false
		}
		if n > 0 {
			t.out.drop(n, &t.hub.spare)
		}
	}
	if t.out.size > 0 {
		t.awaitRoom()
		return false
	}
	return true
}

// drained goes on with what waited until everything was written.
func (t *Transport) drained() {
	switch {
	case t.flags&sending != 0:
		t.more.sendfile.next()
	case t.flags&encrypted != 0:
		t.drainedTLS()
	case t.flags&closing != 0:
		t.lose(nil)
	case t.flags&eofOut != 0:
		t.shutdown()
	}
}

// CloseWrite ends our stream when all that was written has gone to the system; the
// peer reads it and then the end. Reading goes on until the peer's end, which does
// not close the transport by itself if EOF returns true. It does nothing the second
// time, or when the transport is closing. Of a pipe that is written to it is Close, and
// a terminal is not told. (asyncio: write_eof)
func (t *Transport) CloseWrite() {
	if t.flags&(closing|eofOut|failed|readOnly) != 0 {
		return
	}
	if t.flags&writeOnly != 0 {
		t.Close()
		return
	}
	t.flags |= eofOut
	switch {
	case t.flags&encrypted != 0:
		t.schedule() // flushTLS sees to it
	case t.out.size == 0 && t.flags&sending == 0:
		t.shutdown()
	}
}

func (t *Transport) shutdown() {
	if t.kind == netfd.File {
		return // a terminal has one end for both directions
	}
	if err := t.fd.CloseWrite(); err != nil {
		_ = t.writeFailed(err) // Lost gets it
	}
}

// checkFull tells the protocol when too much is buffered.
func (t *Transport) checkFull() {
	if t.flags&(full|made) != made || t.out.size <= t.limits.high {
		return // or Connected will be called before
	}
	t.flags |= full
	if p, ok := t.proto.(Pauser); ok {
		t.tell("PauseWriting", p.PauseWriting)
	}
}

// checkEmpty tells the protocol when that is over.
func (t *Transport) checkEmpty() {
	if t.flags&full == 0 || t.out.size > t.limits.low {
		return
	}
	t.flags &^= full
	if p, ok := t.proto.(Pauser); ok {
		t.tell("ResumeWriting", p.ResumeWriting)
	}
}

// tell calls a method of the protocol, maybe within that of another.
func (t *Transport) tell(method string, call func()) {
	defer t.guard()
	before := t.hub.method
	t.hub.method = method
	call()
	t.hub.method = before
}

// SetWriteLimits sets the numbers of buffered bytes above which PauseWriting is
// called, and at or below which ResumeWriting is, and looks at once whether it is
// time for the former. A high of 0 pauses for any byte; low is a quarter of high if
// it is negative. A negative high is four times low or, if that is negative too,
// the default of 64 KB. The bound of [Config.MaxBuffered] stays. It panics if low is
// above high. (asyncio: set_write_buffer_limits)
func (t *Transport) SetWriteLimits(low, high int) {
	low, high = waterMarks(low, high)
	t.limits = &limits{low, high, t.limits.max}
	t.checkFull()
}

func waterMarks(low, high int) (int, int) {
	if high < 0 {
		high = defaultHigh
		if low >= 0 {
			high = 4 * low
		}
	}
	if low < 0 {
		low = high / 4
	}
	if low > high {
		panic(fmt.Sprintf("transport: SetWriteLimits: low %d is above high %d", low, high))
	}
	return low, high
}

// WriteLimits returns what SetWriteLimits has set. (asyncio: get_write_buffer_limits)
func (t *Transport) WriteLimits() (low, high int) { return t.limits.low, t.limits.high }

// WriteBufferSize returns how many bytes wait to be written.
// (asyncio: get_write_buffer_size)
func (t *Transport) WriteBufferSize() int {
	if t.flags&encrypted != 0 {
		return t.out.size + len(t.more.tls.engine.Pending())
	}
	return t.out.size
}
