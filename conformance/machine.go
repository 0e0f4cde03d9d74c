package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/locks"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/queue"
	"github.com/eddyloop/eddy/task"
)

// tick is the unit of a program's time.
const tick = time.Millisecond

const (
	maxOps  = 20000
	maxIdle = 3
)

// Run runs a program and returns its trace. Its error is that of Validate, or says
// that eddy or this package has a bug: a panic that no program should cause.
func Run(p *Program) (string, error) {
	if err := p.Validate(); err != nil {
		return "", err
	}
	m := &machine{
		p:        p,
		ops:      make(map[string][]Op),
		slots:    make(map[string]*task.Task[any]),
		names:    make(map[uint64]string),
		named:    make(map[string]*task.Task[any]),
		counts:   make(map[string]int),
		objs:     make(map[string]*object),
		handles:  make(map[string]*loop.Handle),
		counters: make(map[string]int),
		vars:     make(map[string]*task.Var[int]),
		shielded: make(map[*future.Cell]bool),
		kept:     nil,
	}
	for _, b := range p.Bodies {
		m.ops[b.Name] = b.Ops
	}
	m.now = time.Unix(0, 0)
	l, err := loop.New(loop.Config{Clock: m, OnError: m.onError})
	if err != nil {
		return "", err
	}
	m.l = l
	for _, o := range p.Objs {
		if m.objs[o.Name], err = m.newObject(o); err != nil {
			return "", err
		}
	}
	if p.Mode == "run" {
		m.runMode()
	} else {
		m.idleMode()
	}
	m.final()
	m.silent = true
	if err := l.Close(); err != nil {
		return "", err
	}
	if m.bug != nil {
		return "", m.bug
	}
	return strings.Join(m.out, "\n") + "\n", nil
}

// A machine runs one program.
type machine struct {
	p   *Program
	l   *loop.Loop
	now time.Time
	out []string

	ops   map[string][]Op
	nops  int
	idles int

	slots  map[string]*task.Task[any] // body -> its latest task
	tasks  []*task.Task[any]          // of bodies, oldest first; nil while the first step of an eager one runs
	names  map[uint64]string
	named  map[string]*task.Task[any]
	counts map[string]int
	main   *task.Task[any]

	objs     map[string]*object
	handles  map[string]*loop.Handle
	counters map[string]int
	vars     map[string]*task.Var[int]
	shielded map[*future.Cell]bool
	kept     []any  // futures that were replaced: nothing is collected before the end
	label    string // of the callback that runs
	silent   bool   // the trace is complete
	bug      error  // the machine's own, or a panic of eddy
}

// An object is one of objs; one field is set.
type object struct {
	def     Obj
	event   *locks.Event
	lock    *locks.Mutex
	sem     *locks.Semaphore
	cond    *locks.Cond
	queue   *queue.Queue[int]
	future  *future.Future[any]
	promise future.Promise[any]
	barrier *locks.Barrier
}

func (m *machine) newObject(o Obj) (*object, error) {
	x := &object{def: o}
	or := func(p *int, d int) int {
		if p != nil {
			return *p
		}
		return d
	}
	switch o.Kind {
	case "event":
		x.event = new(locks.Event)
	case "lock":
		x.lock = new(locks.Mutex)
	case "sem":
		if o.Bounded {
			x.sem = locks.NewBoundedSemaphore(or(o.Value, 1))
		} else {
			x.sem = locks.NewSemaphore(or(o.Value, 1))
		}
	case "cond":
		var l *locks.Mutex
		if o.Lock != nil {
			l = m.objs[*o.Lock].lock // it is there: see Validate
		}
		x.cond = locks.NewCond(l)
	case "queue":
		x.queue = queue.New[int](o.Maxsize)
	case "lifo":
		x.queue = queue.NewLIFO[int](o.Maxsize)
	case "prio":
		x.queue = queue.NewPriority(o.Maxsize, func(a, b int) bool { return a < b })
	case "future":
		x.future, x.promise = future.New[any](m.l)
	case "barrier":
		x.barrier = locks.NewBarrier(or(o.Parties, 2))
	default:
		return nil, fmt.Errorf("object %s: no kind %q", o.Name, o.Kind)
	}
	return x, nil
}

// E is the one error that a program can raise.
type E struct{ label string }

func (e *E) Error() string { return "E(" + e.label + ")" }

// message is the cause of a cancel with a message.
type message string

func (s message) Error() string { return string(s) }

var errAbort = errors.New("conformance: the run ends")

// ---- the clock

// Now implements loop.Clock.
func (m *machine) Now() time.Time { return m.now }

// Idle implements loop.Clock.
func (m *machine) Idle(next time.Time, _ bool) (time.Duration, error) {
	if !next.IsZero() {
		m.now = next
		return 0, nil
	}
	m.idles++
	if m.nops > maxOps {
		return 0, errAbort
	}
	if m.p.Mode == "run" {
		if m.idles > maxIdle || m.main == nil || m.main.Done() {
			m.star("hang")
			return 0, errAbort
		}
		m.star("idle", m.name(m.main))
		m.main.Cancel(nil)
		return 0, nil
	}
	left := m.pending()
	switch {
	case len(left) == 0:
		m.l.Stop()
	case m.idles > maxIdle:
		m.star("hang")
		m.l.Stop()
	default:
		words := []string{"idle"}
		for _, t := range left {
			words = append(words, m.name(t))
		}
		m.star(words...)
		for _, t := range left {
			t.Cancel(nil)
		}
	}
	return 0, nil
}

func (m *machine) pending() (ts []*task.Task[any]) {
	for _, t := range m.tasks {
		if t != nil && !t.Done() {
			ts = append(ts, t)
		}
	}
	return ts
}

// ---- the run

func (m *machine) idleMode() {
	m.start(nil, "main")
	if err := m.l.Run(); err != nil && !errors.Is(err, errAbort) {
		m.bug = err
	}
}

func (m *machine) runMode() {
	main := m.start(nil, "main")
	if err := m.l.RunUntil(main); err != nil && !errors.Is(err, loop.ErrStopped) {
		m.ended(err)
		return
	}
	switch v, err := main.Result(); {
	case errors.Is(err, future.ErrNotDone): // stopped by the limit on ops
		m.star("run raise RuntimeError")
	case err != nil:
		m.star("run raise", exname(err))
	default:
		m.star("run return", val(v))
	}
	// Runner.close: the tasks that are left, then asynchronous generators and the
	// default executor, of which there are none; each of these is a task.
	if err := task.CancelAll(m.l); err != nil {
		m.ended(err)
		return
	}
	for range 2 {
		nothing := task.Go(m.l.Context(), func(context.Context) error { return nil })
		if err := m.l.RunUntil(nothing); err != nil {
			m.ended(err)
			return
		}
	}
	m.star("closed")
}

func (m *machine) ended(err error) {
	if !errors.Is(err, errAbort) && !errors.Is(err, loop.ErrStopped) {
		m.bug = err
	}
}

// start makes a task of a body, in a group if g is not nil.
func (m *machine) start(g *task.Group, body string) *task.Task[any] {
	m.counts[body]++
	name := body + "." + strconv.Itoa(m.counts[body])
	index := len(m.tasks)
	m.tasks = append(m.tasks, nil)
	fn := func(ctx context.Context) (any, error) {
		m.names[task.FromContext(ctx).ID()] = name // an eager one is not named otherwise yet
		return m.body(ctx, body)
	}
	var t *task.Task[any]
	switch ctx := m.l.Context(); {
	case g != nil && m.p.Eager:
		t = task.StartNowIn(g, fn)
	case g != nil:
		t = task.StartIn(g, fn)
	case m.p.Eager:
		t = task.StartNow(ctx, fn)
	default:
		t = task.Start(ctx, fn)
	}
	t.SetName(name)
	m.names[t.ID()] = name
	m.tasks[index] = t
	m.named[name] = t
	m.slots[body] = t
	if body == "main" && m.main == nil {
		m.main = t
	}
	return t
}

// ---- the trace

func (m *machine) time() string { return strconv.Itoa(int(m.now.Sub(time.Unix(0, 0)) / tick)) }

func (m *machine) name(t task.Any) string {
	if n, ok := m.names[t.ID()]; ok {
		return n
	}
	return t.Name()
}

func (m *machine) say(mark string, words ...string) {
	if m.silent {
		return
	}
	who := "cb:" + m.label
	if t := task.FromContext(m.l.Context()); t != nil {
		who = m.name(t)
	}
	m.out = append(m.out, strings.Join(append([]string{m.time(), who, mark}, words...), " "))
}

func (m *machine) star(words ...string) {
	if !m.silent {
		m.out = append(m.out, m.time()+" * "+strings.Join(words, " "))
	}
}

func (m *machine) onError(e *loop.CallError) {
	var p *coro.PanicError
	switch {
	case m.silent || e.Op == "result never retrieved":
	case e.Op == "callback" && errors.As(e.Err, &p):
		if err, ok := p.Value.(*E); ok {
			m.star("handler callback", exname(err))
			return
		}
		m.bug = fmt.Errorf("%w\n%s", e, p.Stack)
	case e.Op == "shutdown":
		m.star("handler shutdown", e.Name, exname(e.Err))
	default:
		m.star("handler other", exname(e.Err))
	}
}

// noteBug keeps the error if it is a panic: programs raise errors.
func (m *machine) noteBug(err error) {
	var p *coro.PanicError
	if m.bug == nil && errors.As(err, &p) {
		m.bug = fmt.Errorf("%w\n%s", err, p.Stack)
	}
}

func exname(err error) string {
	var e *E
	var g *task.GroupError
	if c := future.AsCanceled(err); c != nil {
		if msg, ok := c.Cause.(message); ok && msg != "" {
			return "Cancelled(" + string(msg) + ")"
		}
		return "Cancelled"
	}
	switch {
	case errors.As(err, &g): // before E: errors.As looks through a group
		names := make([]string, len(g.Errors()))
		for i, err := range g.Errors() {
			names[i] = exname(err)
		}
		return "Group[" + strings.Join(names, ",") + "]"
	case errors.As(err, &e):
		return e.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "Timeout"
	case errors.Is(err, queue.ErrEmpty):
		return "QueueEmpty"
	case errors.Is(err, queue.ErrFull):
		return "QueueFull"
	case errors.Is(err, queue.ErrShutDown):
		return "QueueShutDown"
	case err == errUnlocked:
		return "RuntimeError"
	case errors.Is(err, locks.ErrBroken):
		return "BrokenBarrierError"
	}
	return fmt.Sprintf("%T(%v)", err, err)
}

func val(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case error:
		return exname(v)
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case []any:
		words := make([]string, len(v))
		for i, x := range v {
			words[i] = val(x)
		}
		return "[" + strings.Join(words, ",") + "]"
	}
	return fmt.Sprint(v)
}

func matches(kind string, err error) bool {
	canceled := future.AsCanceled(err) != nil
	_, group := err.(*task.GroupError)
	switch kind {
	case "cancelled":
		return canceled
	case "timeout":
		return !canceled && !group && errors.Is(err, context.DeadlineExceeded)
	case "group":
		return group
	case "error":
		return !canceled
	}
	return true
}

// ---- the end

func (m *machine) final() {
	add := func(words ...string) { m.out = append(m.out, "= "+strings.Join(words, " ")) }
	add("end", m.time())
	for _, t := range m.tasks {
		add(m.name(t), m.describe(t.Future), "cancelling="+strconv.Itoa(t.Canceling()))
		m.noteBug(t.Err())
	}
	for _, def := range m.p.Objs {
		o := m.objs[def.Name]
		var s string
		word := func(on bool, yes, no string) string {
			if on {
				return yes
			}
			return no
		}
		switch {
		case o.event != nil:
			s = word(o.event.IsSet(), "set", "clear")
		case o.lock != nil:
			s = word(o.lock.Locked(), "locked", "unlocked")
		case o.cond != nil:
			s = word(o.cond.L.Locked(), "locked", "unlocked")
		case o.sem != nil:
			s = "value=" + strconv.Itoa(o.sem.Value())
		case o.queue != nil:
			items := []any{}
			for _, v := range o.queue.Items() {
				items = append(items, v)
			}
			s = val(items) + " unfinished=" + strconv.Itoa(o.queue.Unfinished())
		case o.future != nil:
			s = m.describe(o.future)
		default:
			s = fmt.Sprintf("waiting=%d broken=%v", o.barrier.Waiting(), o.barrier.Broken())
		}
		add(def.Name, s)
	}
}

func state(f future.Waiter) string {
	return [...]string{"pending", "result", "error", "cancelled"}[f.State()]
}

func (m *machine) describe(f *future.Future[any]) string {
	retrieved := f.Retrieved()
	switch f.State() {
	case future.Resolved:
		v, _ := f.Result()
		return "result " + val(v)
	case future.Failed:
		s := "error " + exname(f.Err())
		if !retrieved && !m.shielded[future.CellOf(f)] {
			s += " unretrieved"
		}
		return s
	}
	return state(f)
}

// ---- items

// An item is something to wait for, resolved: a future or a task, or a body.
type item struct {
	f      *future.Future[any] // nil for a body, and for an empty slot
	isBody bool
	body   string
	show   string
}

func (m *machine) item(x any) item {
	l := x.([]any)
	kind, name := l[0].(string), l[1].(string)
	switch kind {
	case "f":
		return item{f: m.objs[name].future, show: name}
	case "t":
		if t := m.slots[name]; t != nil {
			return item{f: t.Future, show: m.name(t)}
		}
		return item{show: name + ":unset"}
	}
	return item{isBody: true, body: name, show: name + "*"}
}

func (it item) unset() bool { return it.f == nil && !it.isBody }

func (m *machine) items(x any) (its []item, show string) {
	words := []string{}
	for _, y := range x.([]any) {
		it := m.item(y)
		words = append(words, it.show)
		if !it.unset() {
			its = append(its, it)
		}
	}
	return its, "[" + strings.Join(words, ",") + "]"
}

// futures starts the bodies among the items as tasks, in order.
func (m *machine) futures(its []item, add func(*future.Future[any])) {
	for _, it := range its {
		if it.f == nil {
			it.f = m.start(nil, it.body).Future
		}
		add(it.f)
	}
}

func num(x any) int { return x.(int) }

func ticks(x any) time.Duration { return time.Duration(num(x)) * tick }

func distinct(its []item) []item {
	var out []item
	for _, it := range its {
		if !slices.ContainsFunc(out, func(o item) bool { return o.f == it.f }) {
			out = append(out, it)
		}
	}
	return out
}
