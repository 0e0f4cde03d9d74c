// Package looptest runs tests of code on loops: in virtual time, without sleeping,
// with every deadlock found.
//
//	func TestRetry(t *testing.T) {
//		looptest.Run(t, func(ctx context.Context) error {
//			start := loop.FromContext(ctx).Now()
//			err := task.Sleep(ctx, time.Hour) // passes at once
//			…
//		})
//	}
//
// # Virtual time
//
// When nothing is ready, the clock jumps to the next timer. It stands still while
// anything outside of the loop may bring work: a job of an executor, a registered
// descriptor, a [loop.Loop.Hold]. When there is neither a timer nor an outside,
// nothing can ever run again: the test fails with the list of the tasks that are
// stuck, what each awaits, and their stacks.
package looptest
