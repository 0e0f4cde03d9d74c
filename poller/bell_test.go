//go:build unix

package poller

import (
	"testing"
	"time"
)

// slowSignal is a ringer that is still in its system call when the bell is shut.
type slowSignal struct{ began, end chan struct{} }

func (s slowSignal) signal() error {
	close(s.began)
	<-s.end
	return nil
}

// The descriptor that signal writes to must not be closed beneath it.
func TestShutWaitsForSignal(t *testing.T) {
	var b bell
	s := slowSignal{make(chan struct{}), make(chan struct{})}
	rang, freed := make(chan error), make(chan struct{})
	go func() { rang <- b.ring(s) }()
	<-s.began
	go b.shut(func() { close(freed) })
	select {
	case <-freed:
		t.Error("freed during the system call")
	case <-time.After(10 * time.Millisecond):
	}
	close(s.end)
	if err := <-rang; err != nil {
		t.Errorf("ring: %v", err)
	}
	<-freed
	if err := b.ring(s); err != ErrClosed {
		t.Errorf("ring after shut: %v, want ErrClosed", err)
	}
	if b.shut(nil) {
		t.Error("the second shut claims to have done it")
	}
}

type failing struct{ err error }

func (f *failing) signal() error { return f.err }

// A failed system call must not leave the bell rung, with nobody to try again.
func TestRingAfterFailure(t *testing.T) {
	var b bell
	f := &failing{ErrClosed}
	for range 2 {
		if err := b.ring(f); err != ErrClosed {
			t.Errorf("ring: %v, want the failure", err)
		}
	}
	f.err = nil
	if err := b.ring(f); err != nil || b.state.Load() != rung {
		t.Errorf("ring: %v, state %d", err, b.state.Load())
	}
}
