package transport

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"
)

// A Config says how a transport works. The zero value is right for production.
type Config struct {
	// HighWater is the number of buffered bytes above which PauseWriting is called.
	// Default 0: 64 KB. For a pause at any byte see [Transport.SetWriteLimits].
	HighWater int
	// LowWater is the number of buffered bytes at which ResumeWriting is called.
	// Default 0: a quarter of HighWater.
	LowWater int
	// MaxBuffered is how many bytes a transport buffers at most; a write that might
	// not fit gets ErrBufferFull. Default 0: 16 MB.
	MaxBuffered int

	// TLS is the configuration for TLS, which the connection then begins with:
	// Connected is called after the handshake. Default nil: no TLS. A client without
	// a ServerName gets the host of the address.
	TLS *tls.Config
	// HandshakeTimeout bounds the handshake. Default 0: 60 s; negative: no bound.
	HandshakeTimeout time.Duration
	// ShutdownTimeout bounds what Close of a connection with TLS waits for: that
	// everything is sent and the peer says that it has ended, too. Then the
	// connection is aborted. Default 0: 30 s; negative: no bound.
	ShutdownTimeout time.Duration
}

// A DialConfig says how [Dial] connects. The zero value is right for production.
type DialConfig struct {
	Config

	// Local is the address to connect from. Default: the system chooses.
	Local netip.AddrPort
	// FallbackDelay is how long an attempt may take before that of the next address
	// begins beside it. Default 0: 250 ms; negative: one after the other.
	// (asyncio: happy_eyeballs_delay)
	FallbackDelay time.Duration
	// AttemptTimeout bounds the attempt of each address. Default 0: no bound but the
	// system's, on Linux some two minutes.
	AttemptTimeout time.Duration
	// Resolver looks names up. Default nil: net.DefaultResolver.
	Resolver *net.Resolver
}

// A ListenConfig says how a [Listener] works. The zero value is right for
// production.
type ListenConfig struct {
	Config

	// ReusePort lets several listeners, of several loops, share an address: the
	// system spreads connections over them (SO_REUSEPORT). Default false.
	ReusePort bool
	// MaxConns is how many transports there are at most; more connections wait in the
	// system's queue. Default 0: no bound.
	MaxConns int
}

const (
	defaultHigh = 64 << 10
	defaultMax  = 16 << 20

	defaultHandshake = 60 * time.Second
	defaultShutdown  = 30 * time.Second
)

// limits bound what a transport buffers. Those with the same configuration share one.
type limits struct{ low, high, max int }

// defaultLimits are those of the zero Config. They are not changed.
var defaultLimits = limits{defaultHigh / 4, defaultHigh, defaultMax}

// limits returns those of c. It panics if they contradict each other.
func (c *Config) limits() *limits {
	if c.HighWater == 0 && c.LowWater == 0 && c.MaxBuffered == 0 {
		return &defaultLimits
	}
	m := limits{c.LowWater, c.HighWater, c.MaxBuffered}
	if m.high == 0 {
		m.high = defaultHigh
	}
	if m.low == 0 {
		m.low = m.high / 4
	}
	if m.max == 0 {
		m.max = defaultMax
	}
	if m.low < 0 || m.low > m.high || m.high > m.max {
		panic("transport: Config: not 0 <= LowWater <= HighWater <= MaxBuffered")
	}
	return &m
}

// timeout returns d, or the default for 0; 0 for no bound.
func timeout(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return max(d, 0)
}
