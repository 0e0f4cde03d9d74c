//go:build unix && !freebsd

package netfd

import "golang.org/x/sys/unix"

// reusePort is the option by which several sockets listen on one address. Linux
// and DragonFly spread connections over them; on the others one gets them all.
const reusePort = unix.SO_REUSEPORT
