//go:build !unix

package netfd

import (
	"errors"
	"net"
	"syscall"

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
func (f *FD) TryReadFrom([]byte) (int, Addr, bool, error) { return 0, Addr{}, false, net.ErrClosed }
func (f *FD) TryWriteTo([]byte, *Addr) error              { return net.ErrClosed }
func (f *FD) Detach() int                                 { return -1 }
func (f *FD) CloseWrite() error                           { return net.ErrClosed }
func (f *FD) Reset()                                      {}
func (f *FD) Local() Addr                                 { return Addr{} }
func (f *FD) Close() (bool, error)                        { return false, nil }

func (f *FD) OpenFile(*loop.Loop, int, loop.Sink) error { return errors.ErrUnsupported }

func Listen(Addr, bool, bool) (int, error)  { return -1, errors.ErrUnsupported }
func ListenUnix(string) (int, error)        { return -1, errors.ErrUnsupported }
func Connect(Addr, Addr) (int, error)       { return -1, errors.ErrUnsupported }
func ConnectUnix(string) (int, error)       { return -1, errors.ErrUnsupported }
func Adopt(syscall.Conn) (int, Kind, error) { return -1, 0, errors.ErrUnsupported }
func KindOf(int) (Kind, error)              { return 0, errors.ErrUnsupported }
func Dup(int) (int, error)                  { return -1, errors.ErrUnsupported }
func SetNonblock(int) error                 { return errors.ErrUnsupported }
func Accepted(int) error                    { return errors.ErrUnsupported }
func LocalAddr(int) Addr                    { return Addr{} }
func PeerAddr(int) Addr                     { return Addr{} }
func LocalUnix(int) *net.UnixAddr           { return nil }
func PeerUnix(int) *net.UnixAddr            { return nil }
func CloseFD(int)                           {}

func Unsupported(error) bool  { return false }
func Shortage(error) bool     { return false }
func Aborted(error) bool      { return false }
func Disconnected(error) bool { return false }

func (f *FD) TryReadFromUnix([]byte) (int, string, bool, error) { return 0, "", false, net.ErrClosed }
func (f *FD) TryWriteToUnix([]byte, string) error               { return net.ErrClosed }
func (f *FD) AssumeWritable()                                   {}
func (f *FD) AssumeReadable()                                   {}

func NewPacket(*PacketConfig) (int, error)            { return -1, errors.ErrUnsupported }
func NewUnixPacket(string, string) (int, error)       { return -1, errors.ErrUnsupported }
func PacketFamily(int) int                            { return 0 }
func JoinGroup(int, Addr, *net.Interface) error       { return errors.ErrUnsupported }
func LeaveGroup(int, Addr, *net.Interface) error      { return errors.ErrUnsupported }
func SetMulticastTTL(int, int) error                  { return errors.ErrUnsupported }
func SetMulticastLoopback(int, bool) error            { return errors.ErrUnsupported }
func SetMulticastInterface(int, *net.Interface) error { return errors.ErrUnsupported }
func SetBroadcast(int, bool) error                    { return errors.ErrUnsupported }
func Dropped(int) (uint32, bool)                      { return 0, false }
