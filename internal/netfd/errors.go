package netfd

import "errors"

// ErrWouldBlock is returned by the Try methods when they would have to wait.
var ErrWouldBlock = errors.New("stream: operation would block")
