package future

// Settle ends a future that is pending, as Promise.Resolve does if err is nil and
// as Promise.Fail does otherwise. It is for producers that keep the future in
// themselves, and so have no Promise.
func Settle[T any](f *Future[T], v T, err error) bool {
	if err != nil {
		return Promise[T]{f}.Fail(err)
	}
	return Promise[T]{f}.Resolve(v)
}
