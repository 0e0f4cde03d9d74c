package future

// Settle ends a future that is pending, as Promise.Resolve does if err is nil and
// as Promise.Fail does otherwise. It is for producers that keep the future in
// themselves, and so have no Promise. An err that is a cancellation is taken for
// what the producer's own code returned: the first who awaits the future gets
// err itself, others a CanceledError caused by it.
func Settle[T any](f *Future[T], v T, err error) bool {
	if err == nil {
		return Promise[T]{f}.Resolve(v)
	}
	ok := Promise[T]{f}.Fail(err)
	f.raised = ok && f.state == Canceled
	return ok
}

// SettleCanceled ends a future that is pending as canceled, as Promise.Cancel
// does.
func SettleCanceled[T any](f *Future[T], cause error) bool { return Promise[T]{f}.Cancel(cause) }
