package executor

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"
)

// Config configures a Pool. The zero value is right for production.
type Config struct {
	// Limit is how many jobs run at a time. Default 0: min(32, NumCPU + 4), which
	// is Python's, and suits jobs that mostly wait. For jobs that compute take
	// GOMAXPROCS - 1: one processor must be left to the loop, which otherwise
	// answers late by 10 ms and more, the time that the runtime lets a goroutine
	// compute before it interrupts it. At GOMAXPROCS=1 every computing job has
	// that price. Give each kind of work a [Lane] or a pool of its own: lookups
	// that hang should not keep files from being read.
	Limit int
	// Queue is how many jobs may wait for others to end before Submit refuses
	// more. Default 0: 65,536, some 20 MB; negative: no bound.
	Queue int
	// Name is what errors call the pool, and, as the pprof label "executor", what
	// profiles do: profiles of goroutines and of processor time can be asked for
	// what a pool's jobs do. Default "": no name.
	Name string

	// Init is called on each goroutine of the pool before its first job. What it
	// returns is for the jobs that run there, which find it by [Local]: a
	// connection perhaps, that jobs need and cannot share. Its ctx ends when it has
	// returned, or a shutdown gives up. If it fails, panics or calls Goexit the
	// pool is broken, for good: see [ErrBroken]. Default nil: no such call.
	//
	// With Init or LockThread goroutines stay when they have nothing to do, up to
	// Limit of them, until the pool is shut down: such a pool must be. An idle one
	// is reused before another is made.
	Init func(ctx context.Context) (any, error)
	// Exit is called with Init's value on the same goroutine when that ends, with a
	// ctx as Init's. It needs Init. A panic of it goes to log/slog. Default nil.
	Exit func(ctx context.Context, value any)
	// LockThread gives each goroutine an operating system thread of its own, which
	// ends with it. A job handed in alone then costs switches of threads, 10 to
	// 40 µs in place of half a microsecond. Default false.
	LockThread bool
}

const (
	maxDefaultLimit = 32
	defaultQueue    = 1 << 16
)

// A Pool runs jobs on goroutines, a limited number at a time, in the order they
// were handed in. Its methods may be called from any goroutine; one pool may
// serve several loops. Make it with [New]. (concurrent.futures:
// ThreadPoolExecutor)
//
// A goroutine is made for a job when none is there and the limit allows; one that
// has ended its job takes the next, and ends when there is none. So an idle pool
// holds nothing, and needs no closing, unless its Config says that goroutines stay.
// Goroutines are shared: a job that calls runtime.LockOSThread must undo it.
//
// Submit and Go do not wait for a place in the queue, and Do and Map do. A job of
// these that waits for a place waits in the queue already, beyond its bound: so the
// order of asking is kept between all, and a canceled task leaves no trace.
//
//	open --Shutdown--> closed: no new jobs
//	open --Init fails--> broken: no new jobs, and none that waited
type Pool struct {
	cfg  Config
	base time.Time // what clocks count from
	main Lane

	procs *ProcessPool // whose places these are; nil: a pool of its own

	mu    sync.Mutex
	lanes []*Lane // all but main, in the order made
}

// New returns a pool that is open and holds no goroutine.
func New(cfg Config) *Pool {
	if cfg.Exit != nil && cfg.Init == nil {
		panic("executor: Config.Exit without Init")
	}
	p := &Pool{cfg: cfg, base: time.Now()}
	p.main.init(p, cfg.Name, "Config", cfg.Limit, cfg.Queue)
	return p
}

// LaneConfig configures a Lane. The zero value is right for production.
type LaneConfig struct {
	// Limit is how many jobs of the lane run at a time. They do not count against
	// the limit of the pool or of other lanes. Default 0: as in [Config].
	Limit int
	// Queue is how many jobs may wait for others of the lane to end before Submit
	// refuses more. Default 0: 65,536; negative: no bound.
	Queue int
}

// A Lane is a part of a [Pool] with places and a queue of its own, so that jobs of
// one kind keep only their like waiting: lookups that hang, files, computations.
// It has the pool's name, Init, Exit and LockThread, its label is the name of the
// pool and its own, as in "io/dns", and it ends with the pool at the latest. Make it
// with [Pool.Lane]. Its methods may be called from any goroutine.
type Lane struct {
	pool   *Pool
	name   string
	limit  int
	room   int             // jobs in the queue at which Submit refuses
	body   func()          // of a goroutine, made once: a go statement with it allocates nothing
	labels context.Context // for pprof; nil: none

	laneState
}

// Lane returns the lane of that name, and makes it if there is none: then cfg
// counts. A lane of a pool that is closed is.
func (p *Pool) Lane(name string, cfg LaneConfig) *Lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.lanes {
		if n.name == name {
			return n
		}
	}
	n := new(Lane)
	n.init(p, name, "LaneConfig", cfg.Limit, cfg.Queue)
	p.main.mu.Lock()
	n.refuse = p.main.refuse
	p.main.mu.Unlock()
	p.lanes = append(p.lanes, n)
	return n
}

// Lanes returns the lanes that were made, in that order.
func (p *Pool) Lanes() []*Lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*Lane(nil), p.lanes...)
}

// all returns the pool's own places and the lanes.
func (p *Pool) all() []*Lane { return append([]*Lane{&p.main}, p.Lanes()...) }

// Name returns the pool's Config.Name.
func (p *Pool) Name() string { return p.cfg.Name }

// Name returns the lane's name in its pool.
func (n *Lane) Name() string { return n.name }

func (p *Pool) lane() *Lane {
	if p == nil {
		return nil
	}
	return &p.main
}

func (n *Lane) lane() *Lane { return n }

// init prepares a lane; config is the name of the struct that it was configured by.
func (n *Lane) init(p *Pool, name, config string, limit, queue int) {
	n.pool, n.name, n.limit, n.room = p, name, limit, queue
	n.ended = make(chan struct{})
	switch {
	case n.limit < 0:
		panic(fmt.Sprintf("executor: %s.Limit is negative", config))
	case n.limit == 0:
		n.limit = min(maxDefaultLimit, runtime.NumCPU()+4)
	}
	switch {
	case n.room < 0:
		n.room = math.MaxInt - n.limit
	case n.room == 0:
		n.room = defaultQueue
	}
	n.body = n.work
	if p.cfg.Init != nil || p.cfg.LockThread {
		n.wake = sync.NewCond(&n.mu)
		n.body = n.serve
	}
	if label := n.label(); label != "" {
		n.labels = pprof.WithLabels(context.Background(), pprof.Labels("executor", label))
	}
}

// label returns what profiles call the lane.
func (n *Lane) label() string {
	switch p := n.pool; {
	case n == &p.main:
		return p.cfg.Name
	case p.cfg.Name == "":
		return n.name
	default:
		return p.cfg.Name + "/" + n.name
	}
}
