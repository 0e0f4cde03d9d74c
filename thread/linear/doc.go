// Package linear holds only tests: that the queues of package thread are
// linearizable. Whatever goroutines do to a queue at the same time, there is an order
// of their calls, each at one moment between its begin and its end, in which a queue
// used by one goroutine alone would have given the same answers. Histories of real
// calls are checked by porcupine; it is a module of its own because of that.
package linear
