package loop

import "time"

// A Trace has functions that the loop calls at points of its life, on the loop.
// Each may be nil. They must not block, and must not call the loop.
type Trace struct {
	// Wait is called before the loop asks the kernel: 0 just looks, negative
	// waits for ever.
	Wait func(d time.Duration)
	// Wake is called after it, with the number of descriptors ready.
	Wake func(ready int)
	// Task is called when a task is started, before each of its steps, when it
	// has suspended and when it is done.
	Task func(ev TaskEvent)
}

// A TaskEvent tells what became of a task.
type TaskEvent struct {
	ID   uint64 // unique in its loop, from 1
	Name string
	Kind TaskEventKind
}

// TaskEventKind says what a [TaskEvent] is about.
type TaskEventKind uint8

// What happens to tasks.
const (
	TaskStart TaskEventKind = iota
	TaskStep
	TaskSuspend
	TaskDone
)

// TraceTask calls Trace.Task, if there is one. It is for packages that run
// computations.
func (l *Loop) TraceTask(id uint64, name func() string, kind TaskEventKind) {
	l.cfg.Trace.Task(TaskEvent{ID: id, Name: name(), Kind: kind})
}

// TracesTasks reports whether there is a Trace.Task.
func (l *Loop) TracesTasks() bool { return l.tracesTasks }
