// Package aiter has what iter, slices and maps have not, for sequences that may
// wait and may fail.
//
// The sequence is an iter.Seq2[T, error], as queue.All, task.AsCompleted and a
// connection's lines are: what Python calls an asynchronous generator. Its producer
// is a plain function that suspends its task between two calls of yield; the loop
// that ranges over it is in the same task, and the ctx with which it waits is of
// that task. [Values] makes a plain iter.Seq of it, for slices and maps.
//
// # Rules
//
// The error of every pair but the last is nil. A pair with an error ends the
// sequence: a failure, a cancellation of the task, the end of a scope; so none of
// them is lost. Nothing runs before the loop begins, and each loop begins anew,
// unless the comment says otherwise.
//
// A function that takes no ctx does not wait by itself: only the sequences that it
// is given may. A function that takes one runs tasks ([Map], [MapUnordered],
// [Merge]). When its loop is left, at the end, by break, return or panic, those
// tasks are canceled, and the loop ends when they are done; a cancellation of the
// caller in the meantime is delivered at its next wait. A failure is never the
// consumer's: it does not interrupt the body of the loop, it is the last pair.
//
// Because a ctx belongs to a task, what such a function reads from is a [Source]:
// it gets the ctx of the task that reads. A method value is one:
//
//	for page, err := range aiter.Map(ctx, urls.All, 8, fetch) { // urls is a *queue.Queue
package aiter
