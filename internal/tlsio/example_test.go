package tlsio_test

import (
	"fmt"

	"github.com/eddyloop/eddy/internal/netfd"
	"github.com/eddyloop/eddy/internal/tlsio"
)

// The owners of two engines carry bytes between them, instead of sockets.
func Example() {
	var toClient, toServer wire
	client := tlsio.New(&toClient, tlsio.Config{TLS: clientTLS()})
	server := tlsio.New(&toServer, tlsio.Config{TLS: serverTLS(), Server: true})

	carry := func(from, to *tlsio.Engine) {
		p := from.Pending()
		to.Feed(p)
		from.Advance(len(p))
	}
	for client.Shaking() || server.Shaking() {
		if err := client.Handshake(); err != nil && err != netfd.ErrWouldBlock {
			fmt.Println("client:", err)
			return
		}
		carry(client, server)
		if err := server.Handshake(); err != nil && err != netfd.ErrWouldBlock {
			fmt.Println("server:", err)
			return
		}
		carry(server, client)
	}
	fmt.Println("speaks", client.State().NegotiatedProtocol)

	_, _ = client.Write([]byte("hello"))
	_ = client.CloseWrite()
	toServer.buf = append(toServer.buf, client.Pending()...)
	client.Advance(len(client.Pending()))

	buf := make([]byte, 100)
	for {
		n, err := server.TryRead(buf)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", buf[:n])
	}
	// Output:
	// speaks echo
	// hello
	// EOF
}
