package stream_test

// spreads: SO_REUSEPORT spreads connections; hasAbstract: unix sockets may have
// names that are no files.
const (
	spreads     = true
	hasAbstract = true
)
