package sched

// up moves the event at i to where it belongs, above.
func (s *Scheduler) up(i int) {
	e := s.events[i]
	for i > 0 && e.before(s.events[(i-1)/2]) {
		s.place(s.events[(i-1)/2], i)
		i = (i - 1) / 2
	}
	s.place(e, i)
}

// down moves the event at i to where it belongs, below.
func (s *Scheduler) down(i int) {
	e := s.events[i]
	for {
		child := 2*i + 1
		if child >= len(s.events) {
			break
		}
		if child+1 < len(s.events) && s.events[child+1].before(s.events[child]) {
			child++
		}
		if !s.events[child].before(e) {
			break
		}
		s.place(s.events[child], i)
		i = child
	}
	s.place(e, i)
}

func (s *Scheduler) place(e *Event, i int) {
	s.events[i] = e
	e.index = i
}

// remove takes an event out.
func (s *Scheduler) remove(e *Event) {
	i, last := e.index, len(s.events)-1
	moved := s.events[last]
	s.events[last] = nil
	s.events = s.events[:last]
	e.index = -1
	if moved != e {
		s.place(moved, i)
		s.up(i)
		s.down(moved.index)
	}
}
