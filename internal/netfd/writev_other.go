//go:build !unix

package netfd

import "net"

func (f *FD) TryWritev([][]byte) (int, error) { return 0, net.ErrClosed }

func (f *FD) SetWritable(bool) {}

func (f *FD) HintEnd() {}
