package future

// Settle ends a future that is pending, as Promise.Resolve does if err is nil and
// as Promise.Fail does otherwise. It is for producers that keep the future in
// themselves, and so have no Promise. An err that is a cancellation is taken for
// what the producer's own code returned: the first who awaits the future gets
// err itself, others a CanceledError caused by it.
func Settle[T any](f *Future[T], v T, err error) bool {
	checkSettle(f.canceler)
	if err == nil {
		return Promise[T]{f}.Resolve(v)
	}
	ok := Promise[T]{f}.Fail(err)
	f.raised = ok && f.state == Canceled
	return ok
}

// checkSettle panics for the future of a task that is not done: only the task
// settles it.
func checkSettle(c Canceler) {
	if t, ok := c.(interface{ Settling() bool }); ok && !t.Settling() {
		panic("future: Settle of the future of a task")
	}
}

// SettleCanceled ends a future that is pending as canceled, as Promise.Cancel
// does.
func SettleCanceled[T any](f *Future[T], cause error) bool {
	checkSettle(f.canceler)
	return Promise[T]{f}.Cancel(cause)
}
