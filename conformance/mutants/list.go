package main

// A mutant is a bug to be put into eddy. The programs must catch it.
type mutant struct {
	name  string
	edits []edit
}

// An edit replaces text that is in a file exactly once. Old texts are kept as
// short as that allows, so that they outlive changes around them.
type edit struct{ file, old, new string }

func one(name, file, old, new string) mutant {
	return mutant{name, []edit{{file, old, new}}}
}

var mutants = []mutant{
	one("LIFO wake-ups", "internal/waitq/waitq.go",
		"for w := q.pending; w != nil; w = w.next {\n\t\tq.pending = w.next\n",
		"for w := q.last; w != nil; w = w.prev {\n"),
	one("LIFO wake-ups of a mutex and of a queue", "internal/waitq/waitq.go",
		"func (q *Queue) First() *Waiter { return q.first }",
		"func (q *Queue) First() *Waiter { return q.last }"),
	one("barging lock", "locks/locks.go",
		"if m.locked || !m.q.AllCanceled() {",
		"if m.locked {"),
	one("cancel lost while the task runs", "task/core.go",
		"\tt.flags |= mustCancel\n\tt.cause = cause\n",
		"\tif t.loop.Current() == loop.Running(t) {\n\t\treturn true\n\t}\n\tt.flags |= mustCancel\n\tt.cause = cause\n"),
	one("cancel before the first step ignored", "task/core.go",
		"\tt.cancels++\n",
		"\tt.cancels++\n\tif t.flags&begun == 0 {\n\t\treturn true\n\t}\n"),
	one("no re-wake after a canceled getter", "queue/queue.go",
		"if !q.Empty() && w.Woken() {",
		"if false {"),
	one("no re-wake after a canceled putter", "queue/queue.go",
		"if !q.Full() && w.Woken() {",
		"if false {"),
	one("timeout without uncancel", "task/time.go",
		"if s.t.uncancel() <= s.canceling",
		"if s.t.cancels-1 <= s.canceling"),
	one("wait counts a cancellation as an exception", "task/combine.go",
		"g.when == FirstException && !m.w.Canceled() && m.w.Err() != nil",
		"g.when == FirstException && m.w.Err() != nil"),
	one("one hop more in gather", "future/gather.go",
		"\tif g.left == 0 {\n\t\tg.finish()\n",
		"\tif g.left == 0 {\n\t\tg.outer.loop.CallSoon(g.finish)\n"),
	{"one hop less in gather", []edit{
		{
			"future/gather.go",
			"// Run counts one child that is done.\n",
			"func (*child[F, T, R]) atOnce() {}\n\n",
		},
		{
			"future/cell.go",
			"\t\t} else {\n\t\t\tc.loop.Queue(w)\n",
			"\t\t} else if _, ok := w.(interface{ atOnce() }); ok {\n\t\t\tw.Run()\n\t\t} else {\n\t\t\tc.loop.Queue(w)\n",
		},
		{
			"future/cell.go",
			"\t\tif !stopped(r) {\n\t\t\tl.Queue(r)\n",
			"\t\tif _, ok := r.(interface{ atOnce() }); ok {\n\t\t\tr.Run()\n\t\t} else if !stopped(r) {\n\t\t\tl.Queue(r)\n",
		},
	}},
	one("shield passes the outer cancel inward", "future/shield.go",
		"\tf.Unwatch(s)\n",
		"\tf.Unwatch(s)\n\tf.Cancel(cause)\n"),
	one("group does not abort siblings", "task/group.go",
		"\t\tg.abort()\n\t\tg.parentRequested = true\n\t\tg.parent.cancel(nil)\n",
		"\t\tg.aborting = true\n\t\tg.parentRequested = true\n\t\tg.parent.cancel(nil)\n"),
	one("group aborts nobody", "task/group.go",
		"\t\t\tm.c.self.Cancel(nil)\n",
		""),
	one("group forgets an outside cancel", "task/group.go",
		"if g.parent.cancels > 0 {",
		"if false {"),
	one("context shared instead of copied", "internal/env/env.go",
		"func (e *Env) With(key, value any) *Env {\n",
		"func (e *Env) With(key, value any) *Env {\n\te.Vars = append(e.Without(key).Vars, Var{key, value})\n\treturn e\n"),
	one("uncancel does not clear an undelivered cancel", "task/task.go",
		"if t.cancels == 0 && t.flags&mustCancel != 0 {",
		"if false {"),
	one("semaphore wakes one too few", "locks/locks.go",
		"for s.value > 0 && s.wakeNext() {",
		"for s.value > 1 && s.wakeNext() {"),
	one("condition does not pass a notify on", "locks/locks.go",
		"\t\tc.q.WakeNext()\n",
		""),
	one("equal deadlines LIFO", "timerheap/heap.go",
		"e.when == f.when && e.seq < f.seq",
		"e.when == f.when && e.seq > f.seq"),
	one("join woken early", "queue/queue.go",
		"\tq.unfinished--\n\tif q.unfinished == 0 {",
		"\tq.unfinished--\n\tif q.unfinished <= 1 {"),
	one("priority queue gives the largest first", "queue/queue.go",
		"\tif r.less(a.v, b.v) {\n\t\treturn true\n\t}\n\treturn !r.less(b.v, a.v) && a.seq < b.seq\n",
		"\tif r.less(b.v, a.v) {\n\t\treturn true\n\t}\n\treturn !r.less(a.v, b.v) && a.seq < b.seq\n"),
	{"as_completed in input order", []edit{
		{
			"task/completed.go",
			"\tmembers []arrival[F]\n",
			"\tmembers []arrival[F]\n\tgiven   int\n\tarrived map[int]bool\n",
		},
		{
			"task/completed.go",
			"\ta.done = append(a.done, m.f)\n\tif a.left",
			`	if a.arrived == nil {
		a.arrived = make(map[int]bool)
	}
	for i := range a.members {
		if m == &a.members[i] {
			a.arrived[i] = true
		}
	}
	for a.arrived[a.given] {
		a.done = append(a.done, a.members[a.given].f)
		a.given++
	}
	if a.left`,
		},
	}},
}
