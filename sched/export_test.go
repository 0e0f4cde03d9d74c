package sched

// Sleepers returns how many calls of Run sleep, or are thought to.
func (s *Scheduler) Sleepers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sleepers)
}
