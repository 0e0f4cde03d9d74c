package thread

// RingLen returns how many places the ring of a queue made by NewQueue has.
func RingLen[T any](q *Queue[T]) int { return len(q.items.(*fifo[T]).ring) }
