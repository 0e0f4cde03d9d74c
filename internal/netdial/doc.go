// Package netdial resolves names and connects, by callbacks on a loop. It is what
// packages of streams, transports and datagrams have in common.
//
// A [Dial] first resolves its address: numbers and paths at once, names on a
// goroutine, of which a loop has 64 at most; the other names wait in line. Then it
// tries one address after the other as RFC 8305 (happy eyeballs) says: families
// take turns, the next attempt begins when the last one has had its 250 ms, or at
// once when one fails, and the first that connects wins.
//
// Callbacks are made from the loop's queue, never by the call that asks, so what
// asks has the [Dial] in hand when it hears of the end. They run without a context
// of the loop's, as with [loop.Loop.Queue].
//
// A socket has one owner at any time, who closes it: the attempt, then whoever was
// told of it. Closing the loop closes what is under way and gives lookups up;
// nobody is told then.
package netdial
