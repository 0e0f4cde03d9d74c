package transport

type sendfile struct{}

func (s *sendfile) stop(t *Transport)            {}
func (s *sendfile) fail(t *Transport, err error) {}
func (s *sendfile) next(t *Transport)            {}
