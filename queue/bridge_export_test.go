package queue

// GiveBack puts back what was handed to a task that was unwound.
func (b *Bridge[T]) GiveBack(v T) { b.giveBack(v) }
