package task

import (
	"bytes"
	"fmt"
	"runtime"

	"github.com/eddyloop/eddy/loop"
)

// Stacks returns the stacks of the loop's tasks that are functions and have begun, by
// task ID, as runtime.Stack prints them. It stops the program for as long as the
// runtime needs to print all goroutines. It must be called on the loop.
func Stacks(l *loop.Loop) map[uint64][]byte {
	// A suspended body is a goroutine in Worker.Suspend, whose receiver the
	// traceback prints.
	byWorker := make(map[string]uint64)
	for _, t := range registryOf(l).all() {
		if t.worker != nil {
			byWorker[fmt.Sprintf("%p", t.worker)] = t.id
		}
	}
	stacks := make(map[uint64][]byte, len(byWorker))
	if len(byWorker) == 0 {
		return stacks
	}
	call := []byte("coro.(*Worker).main(")
	for g := range bytes.SplitSeq(allStacks(), []byte("\n\n")) {
		i := bytes.Index(g, call)
		if i < 0 {
			continue
		}
		arg := g[i+len(call):]
		if j := bytes.IndexAny(arg, ",)?"); j >= 0 {
			if id, ok := byWorker[string(arg[:j])]; ok {
				stacks[id] = bytes.Clone(g)
			}
		}
	}
	return stacks
}

func allStacks() []byte {
	for n := 1 << 20; ; n *= 2 {
		buf := make([]byte, n)
		if m := runtime.Stack(buf, true); m < n || n >= 1<<28 {
			return buf[:m]
		}
	}
}
