package transport

// A Protocol is what is called as a connection goes on, on its loop, by the queue:
//
//	Connected, then Data any number of times, then EOF or not, then Lost
//
// Connected and Lost are called exactly once each; neither is if the connection ends
// before Connected: by a TLS handshake that fails, or a loop that closes. No method may
// block. One that panics ends the connection: Lost is called with a [*ProtocolError],
// which the loop reports, too.
//
// A protocol that also is a [BufferedProtocol] or a [Pauser] is used as such. Embed
// [Defaults] for the methods that are not needed.
type Protocol interface {
	// Connected is called when the connection is there, before anything is read.
	// (asyncio: connection_made)
	Connected(t *Transport)

	// Data is called with bytes that have arrived, at least one; how they are cut
	// means nothing. p belongs to the loop: it is valid, and may be changed, only
	// until Data returns. (asyncio: data_received)
	Data(p []byte)

	// EOF is called when the peer has ended its stream. If it returns false the
	// transport is closed, as by Close; if true our stream goes on until Close.
	// (asyncio: eof_received)
	EOF() (keepOpen bool)

	// Lost is called last. err is nil after Close, Abort or an EOF that was not
	// kept open; otherwise it is what ended the connection, mostly a
	// *net.OpError. The descriptor is closed after it. (asyncio: connection_lost)
	Lost(err error)
}

// A BufferedProtocol reads into memory of its own. Its Data is not called, except
// for bytes that were read before it became the transport's protocol.
// (asyncio: BufferedProtocol)
type BufferedProtocol interface {
	Protocol

	// GetBuffer returns where the next bytes are to go. An empty buffer ends the
	// connection, with [ErrEmptyBuffer]. sizeHint is a good size, but any will do.
	GetBuffer(sizeHint int) []byte

	// BufferUpdated is called when the first n bytes of the buffer were filled.
	BufferUpdated(n int)
}

// A Pauser is a protocol that wants to know when its peer takes too little. Both
// methods are called by what changes the amount that is buffered: PauseWriting from
// within Write, above the higher limit of [Transport.SetWriteLimits]; ResumeWriting
// when the lower one was reached; always in turns.
// (asyncio: pause_writing and resume_writing)
type Pauser interface {
	PauseWriting()
	ResumeWriting()
}

// Defaults is a [Protocol] that does nothing: its EOF closes the connection. It is
// to be embedded. (asyncio: the methods of class Protocol)
type Defaults struct{}

// Connected does nothing.
func (Defaults) Connected(*Transport) {}

// Data does nothing.
func (Defaults) Data([]byte) {}

// EOF returns false.
func (Defaults) EOF() bool { return false }

// Lost does nothing.
func (Defaults) Lost(error) {}
