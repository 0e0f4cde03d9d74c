package netfd

// A Kind is what a descriptor that was not made here turns out to be.
type Kind uint8

const (
	TCP   Kind = 1 + iota // an IP stream socket
	Unix                  // a unix stream socket
	File                  // a pipe, a terminal, another character device
	Other                 // what cannot be waited for here, such as a regular file
)
