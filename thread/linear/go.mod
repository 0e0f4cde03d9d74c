module github.com/eddyloop/eddy/thread/linear

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/eddyloop/eddy v0.0.0
	go.uber.org/goleak v1.3.0
)

replace github.com/eddyloop/eddy => ../..
