package netfd

import "golang.org/x/sys/unix"

// reusePort is the option by which the system spreads connections.
const reusePort = unix.SO_REUSEPORT_LB
