//go:build !unix

package netfd

import (
	"errors"
	"net"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/poller"
)

// An FD is a socket, which this system does not have for eddy: see fd.go.
type FD struct{ l *loop.Loop }

// See fd.go for the methods. Without a socket an FD is always closed.

func (f *FD) Open(*loop.Loop, int, loop.Sink, bool) error { return errors.ErrUnsupported }
func (f *FD) Loop() *loop.Loop                            { return f.l }
func (f *FD) Num() int                                    { return -1 }
func (f *FD) Note(poller.Ready) (reader, writer bool)     { return false, false }
func (f *FD) Readable() bool                              { return false }
func (f *FD) Writable() bool                              { return false }
func (f *FD) WantRead()                                   {}
func (f *FD) WantWrite()                                  {}
func (f *FD) TryRead([]byte) (int, error)                 { return 0, net.ErrClosed }
func (f *FD) TryWrite([]byte) (int, error)                { return 0, net.ErrClosed }
func (f *FD) TryAccept() (int, Addr, error)               { return -1, Addr{}, net.ErrClosed }
func (f *FD) TryConnect() error                           { return net.ErrClosed }
func (f *FD) CloseWrite() error                           { return net.ErrClosed }
func (f *FD) Local() Addr                                 { return Addr{} }
func (f *FD) Close() (bool, error)                        { return false, nil }

func Listen(Addr, bool) (int, error) { return -1, errors.ErrUnsupported }
func Connect(Addr) (int, error)      { return -1, errors.ErrUnsupported }
func Accepted(int) error             { return errors.ErrUnsupported }
func LocalAddr(int) Addr             { return Addr{} }
func CloseFD(int)                    {}

func Unsupported(error) bool  { return false }
func Shortage(error) bool     { return false }
func Aborted(error) bool      { return false }
func Disconnected(error) bool { return false }
