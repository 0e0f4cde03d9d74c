package netfd

// PacketConfig says what [NewPacket] makes.
type PacketConfig struct {
	Local, Remote           Addr // to bind and to connect, if they are addresses
	Dual                    bool // a socket of IPv6 takes IPv4, too
	ReusePort               bool // other sockets that say so may have the same port
	Broadcast               bool // may send to broadcast addresses
	ReadBuffer, WriteBuffer int  // bytes; 0: the system's
}
