package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// The restaurant of "Using Asyncio in Python" by Caleb Hattingh: robots carry
// cutlery between the kitchen and their tables, and at closing time some of it
// may be missing, although nobody stole.
const (
	robots     = 10
	kitchenHas = 100 // knives, and as many forks
	perTable   = 4
	orders     = 16 // that a robot's queue holds, if somebody fills it meanwhile
)

const defaultTables = 300_000

// A cutlery is an amount of knives and forks, somewhere.
type cutlery struct{ knives, forks int }

// give moves knives and forks. On a loop nothing comes in between; of two threads
// that do it at once, one undoes what the other did.
func (c *cutlery) give(to *cutlery, knives, forks int) {
	c.change(-knives, -forks)
	to.change(knives, forks)
}

// change looks how much there is, counts piece by piece, and writes it down.
func (c *cutlery) change(knives, forks int) {
	k, f := c.knives, c.forks
	c.knives, c.forks = count(k, knives), count(f, forks)
}

// count is not inlined, lest the compiler makes change one instruction for each
// number: then a switch of threads on a single processor could not do harm.
//
//go:noinline
func count(have, by int) int {
	for ; by > 0; by-- {
		have++
	}
	for ; by < 0; by++ {
		have--
	}
	return have
}

func (c *cutlery) complete() bool { return *c == cutlery{kitchenHas, kitchenHas} }

func (c *cutlery) String() string { return fmt.Sprintf("%d knives, %d forks", c.knives, c.forks) }

// An order is what a robot is told to do.
type order bool

const (
	prepareTable order = true
	clearTable   order = false
)

// do carries the order out, with the robot's own cutlery.
func (o order) do(kitchen, own *cutlery) {
	if o == prepareTable {
		kitchen.give(own, perTable, perTable)
	} else {
		own.give(kitchen, perTable, perTable)
	}
}

// runCutlery shows the same restaurant with tasks and with goroutines.
func runCutlery(fs *flag.FlagSet, args []string) int {
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), `usage: demo cutlery [N]

%d robots serve N tables each (default %d). For every table a robot takes %d
knives and %d forks from the kitchen, and brings them back when the table is
cleared; its orders come through a queue. The kitchen starts with %d of each and
must end so. Three ways:

  tasks on a loop           no locks: nothing else runs between two waits
  goroutines without locks  a data race, made on purpose: cutlery disappears
  goroutines, sync.Mutex    each robot locks the kitchen

The exit status is 1 if the first or the third kitchen is not complete. What the
second one shows is a matter of luck; the more tables, the likelier it is wrong.
`, robots, defaultTables, perTable, perTable, kitchenHas)
		fs.PrintDefaults()
	}
	_ = fs.Parse(args) // exits on an error
	tables := defaultTables
	if fs.NArg() > 0 {
		n, err := strconv.Atoi(fs.Arg(0))
		if err != nil || n < 1 || fs.NArg() > 1 {
			fmt.Fprintf(os.Stderr, "%s: want one positive number of tables, not %q\n", fs.Name(), fs.Args())
			return 2
		}
		tables = n
	}
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	fmt.Printf("%d robots, %d tables each; a kitchen of %d knives and %d forks\n",
		robots, tables, kitchenHas, kitchenHas)
	status := 0
	for _, way := range []struct {
		name  string
		serve func(tables int) (cutlery, error)
		racy  bool
	}{
		{"tasks on a loop, no locks", serveOnLoop, false},
		{"goroutines without locks", func(n int) (cutlery, error) { return serveWithGoroutines(n, noLock{}), nil }, true},
		{"goroutines, sync.Mutex", func(n int) (cutlery, error) { return serveWithGoroutines(n, new(sync.Mutex)), nil }, false},
	} {
		began := time.Now()
		kitchen, err := way.serve(tables)
		took := time.Since(began)
		verdict := "complete"
		switch {
		case err != nil:
			verdict = err.Error()
			status = 1
		case way.racy && kitchen.complete():
			verdict = "complete this time: nothing got lost, by luck; try again or a larger N"
		case way.racy:
			verdict = "WRONG, as expected of a data race"
		case !kitchen.complete():
			verdict = "WRONG"
			status = 1
		}
		fmt.Printf("%-26s %8.1f ms  %s: %s\n", way.name, float64(took)/float64(time.Millisecond), &kitchen, verdict)
	}
	return status
}

// serveOnLoop serves with a task for each robot and one that gives it orders.
// All that touch the kitchen are on one loop: between two waits nothing else runs.
func serveOnLoop(tables int) (cutlery, error) {
	kitchen := cutlery{kitchenHas, kitchenHas}
	err := task.RunConfig(context.Background(), loop.Config{}, func(ctx context.Context) error {
		return task.Scope(ctx, func(ctx context.Context, g *task.Group) error {
			for range robots {
				q := queue.New[order](orders)
				g.Go(func(ctx context.Context) error {
					defer q.ShutDown(false)
					for range tables {
						if err := q.Put(ctx, prepareTable); err != nil {
							return err
						}
						if err := q.Put(ctx, clearTable); err != nil {
							return err
						}
					}
					return nil
				})
				g.Go(func(ctx context.Context) error {
					var own cutlery
					for o, err := range q.All(ctx) {
						if err != nil {
							return err
						}
						o.do(&kitchen, &own)
					}
					return nil
				})
			}
			return nil
		})
	})
	return kitchen, err
}

// serveWithGoroutines serves with goroutines and channels in the place of tasks
// and queues. mu is locked for each order. As in the book, all orders are given
// before a robot starts: so none waits, and robots really run at the same time.
func serveWithGoroutines(tables int, mu sync.Locker) cutlery {
	kitchen := cutlery{kitchenHas, kitchenHas}
	var channels [robots]chan order
	for i := range channels {
		channels[i] = make(chan order, 2*tables)
		for range tables {
			channels[i] <- prepareTable
			channels[i] <- clearTable
		}
		close(channels[i])
	}
	var wg sync.WaitGroup
	for _, c := range channels {
		wg.Go(func() {
			var own cutlery
			for o := range c {
				mu.Lock()
				o.do(&kitchen, &own)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return kitchen
}

// noLock is a sync.Locker that does not lock.
type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}
