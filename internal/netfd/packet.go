//go:build unix

package netfd

import (
	"os"
	"syscall"
)

// TryReadFrom takes the next datagram. It returns how many of its bytes are in p,
// whether p was too short, in which case the rest is lost, and who sent it: the
// zero Addr unless that has an IP address. It returns [ErrWouldBlock] if there is
// none, net.ErrClosed, and errors of the system as *os.SyscallError, after which
// the socket is as good as before: what the network had to say of an earlier
// datagram is such an error. A datagram may be empty, and there is no end.
//
// A datagram says nothing about those behind it, so f is Readable until a call
// has said ErrWouldBlock. An empty p drops a datagram.
func (f *FD) TryReadFrom(p []byte) (n int, from Addr, truncated bool, err error) {
	if f.state&canRead == 0 {
		return 0, from, false, f.notNow()
	}
	for {
		n, truncated, errno := sysReceive(int(f.fd), p, &from)
		switch errno {
		case 0:
			return n, from, truncated, nil
		case syscall.EAGAIN:
			f.state &^= canRead | ending
			return 0, from, false, ErrWouldBlock
		case syscall.EINTR:
		default:
			return 0, from, false, os.NewSyscallError("recvfrom", errno)
		}
	}
}

// TryWriteTo sends p as one datagram, also an empty one, to an address or, if to is
// nil, to whom the socket is connected with. It sends all or nothing. Its errors
// are those of TryReadFrom; one that is too long is EMSGSIZE.
func (f *FD) TryWriteTo(p []byte, to *Addr) error {
	if f.state&canWrite == 0 {
		return f.notNow()
	}
	for {
		switch errno := sysSend(int(f.fd), p, to); errno {
		case 0:
			return nil
		case syscall.EAGAIN:
			f.state &^= canWrite
			return ErrWouldBlock
		case syscall.EINTR:
		default:
			return os.NewSyscallError("sendto", errno)
		}
	}
}
