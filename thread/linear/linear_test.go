package linear_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/thread"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A queue is what package thread offers, or a broken one.
type queue interface {
	Put(ctx context.Context, v byte) error
	PutTimeout(ctx context.Context, v byte, d time.Duration) error
	TryPut(v byte) error
	Get(ctx context.Context) (byte, error)
	GetTimeout(ctx context.Context, d time.Duration) (byte, error)
	TryGet() (byte, error)
	Len() int
	Unfinished() int
	ShutDown(now bool)
}

// A simple queue has no more than it has: what it lacks, it is not asked for.
type simple struct{ thread.SimpleQueue[byte] }

func (q *simple) Put(_ context.Context, v byte) error                         { return q.TryPut(v) }
func (q *simple) PutTimeout(_ context.Context, v byte, _ time.Duration) error { return q.TryPut(v) }
func (q *simple) TryPut(v byte) error                                         { q.SimpleQueue.Put(v); return nil }

func (q *simple) Unfinished() int { panic("not asked for") }

func (q *simple) ShutDown(bool) { panic("not asked for") }

func open(k kind) queue {
	switch k.name {
	case "simple":
		return new(simple)
	case "lifo":
		return thread.NewLIFO[byte](k.bound)
	case "priority":
		return thread.NewPriority(k.bound, func(a, b byte) bool { return rank(a) < rank(b) })
	}
	return thread.NewQueue[byte](k.bound)
}

var kinds = []kind{
	{"fifo", 0},
	{"fifo", 1},
	{"fifo", 2},
	{"lifo", 0},
	{"lifo", 2},
	{"priority", 0},
	{"priority", 3},
	{"simple", 0},
}

const (
	clients = 4
	calls   = 12 // of each
)

// A recorder makes calls and writes down when they began and ended, by a clock that
// only counts.
type recorder struct {
	q     queue
	clock atomic.Int64

	mu      sync.Mutex
	history []porcupine.Operation
}

func (r *recorder) call(ctx context.Context, client int, in input, d time.Duration) {
	began := r.clock.Add(1)
	out := do(ctx, r.q, in, d)
	ended := r.clock.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: in, Call: began, Output: out, Return: ended})
}

func do(ctx context.Context, q queue, in input, d time.Duration) output {
	var v byte
	var err error
	switch in.op {
	case "put":
		err = q.Put(ctx, in.v)
	case "put timeout":
		err = q.PutTimeout(ctx, in.v, d)
	case "put try":
		err = q.TryPut(in.v)
	case "get":
		v, err = q.Get(ctx)
	case "get timeout":
		v, err = q.GetTimeout(ctx, d)
	case "get try":
		v, err = q.TryGet()
	case "len":
		return output{v: q.Len()}
	case "unfinished":
		return output{v: q.Unfinished()}
	default:
		q.ShutDown(in.op == "shutdown now")
	}
	return output{int(v), name(err)}
}

func name(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, thread.ErrFull):
		return "full"
	case errors.Is(err, thread.ErrEmpty):
		return "empty"
	case errors.Is(err, thread.ErrShutDown):
		return "shut down"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "canceled"
	}
	return err.Error()
}

// record lets some goroutines loose on a queue. They sleep and time out on a grid of
// a few moments, so that much happens at the same one; between two of them the
// goroutines really run at the same time.
func record(t *testing.T, k kind, q func() queue, seed uint64) (history []porcupine.Operation) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{q: q()}
		// What waits for ever is canceled when nobody else does anything.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for client := range clients {
			rng := rand.New(rand.NewPCG(seed, uint64(client)))
			wg.Go(func() {
				for i := range calls {
					in := input{op: choose(rng, k, i), v: byte(1 + client*calls + i)}
					one, done := ctx, func() {}
					if rng.IntN(4) == 0 {
						one, done = context.WithTimeout(ctx, moments(rng))
					}
					r.call(one, client, in, moments(rng))
					done()
					pause(rng)
				}
			})
		}
		wg.Wait()
		history = r.history
	})
	return history
}

func moments(rng *rand.Rand) time.Duration { return time.Duration(1+rng.IntN(3)) * time.Microsecond }

func pause(rng *rand.Rand) {
	switch rng.IntN(4) {
	case 0:
		time.Sleep(moments(rng))
	case 1:
		runtime.Gosched()
	}
}

// choose returns what the call number i is. Shutting down is for the last ones.
func choose(rng *rand.Rand, k kind, i int) string {
	waiting := []string{"put", "put timeout", "put try", "get", "get timeout", "get try"}
	n := rng.IntN(100)
	switch {
	case n < 8:
		return "len"
	case k.name == "simple":
	case n < 16:
		return "unfinished"
	case n < 20 && i > calls/2:
		return "shutdown"
	case n < 23 && i > calls/2:
		return "shutdown now"
	}
	return waiting[n%len(waiting)]
}

// check reports whether a history is that of the model.
func check(t *testing.T, k kind, history []porcupine.Operation) bool {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(model(k), history, time.Minute) {
	case porcupine.Ok:
		return true
	case porcupine.Illegal:
		return false
	}
	t.Fatal("not decided within a minute")
	return false
}

func describe(k kind, history []porcupine.Operation) string {
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	text, m := "", model(k)
	for _, op := range history {
		text += fmt.Sprintf("%4d-%-4d client %d: %s\n", op.Call, op.Return, op.ClientId, m.DescribeOperation(op.Input, op.Output))
	}
	return text
}

func seeds() uint64 {
	if testing.Short() {
		return 100
	}
	return 1000
}

func TestQueuesAreLinearizable(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			seen := map[string]int{}
			overlaps := 0
			for seed := range seeds() {
				history := record(t, k, func() queue { return open(k) }, seed)
				if !check(t, k, history) {
					t.Fatalf("seed %d is not linearizable:\n%s", seed, describe(k, history))
				}
				for _, op := range history {
					seen[op.Output.(output).err]++
					if op.Return > op.Call+1 {
						overlaps++
					}
				}
			}
			t.Logf("%d histories of %d calls, %d with another inside, %v", seeds(), clients*calls, overlaps, seen)
			if overlaps == 0 || seen[""] == 0 || seen["empty"] == 0 || seen["canceled"] == 0 || k.bound > 0 && seen["full"] == 0 {
				t.Error("too little has happened to show anything")
			}
		})
	}
}
