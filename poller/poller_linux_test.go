package poller_test

import (
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/eddyloop/eddy/poller"
)

// Signals sent to the very thread that waits interrupt every wait, and still the deadline holds and
// no wake-up is lost.
func TestSignalsToTheWaitingThread(t *testing.T) {
	p, err := poller.New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tid := os.Getpid(), unix.Gettid()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(quit)
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				unix.Tgkill(pid, tid, unix.SIGURG)
				time.Sleep(100 * time.Microsecond)
			}
		}
	})

	const d = 100 * time.Millisecond
	events := make([]poller.Event, 1)
	start, interrupted := time.Now(), 0
	for end := start.Add(d); time.Now().Before(end); interrupted++ {
		if n, woken, err := p.Wait(events, time.Until(end)); n != 0 || woken || err != nil {
			t.Fatalf("Wait = %d, %v, %v; want nothing", n, woken, err)
		}
	}
	if took := time.Since(start); took < d {
		t.Errorf("took %v, want %v", took, d)
	}
	if interrupted < 5 {
		t.Errorf("%d waits, want the signals to interrupt many", interrupted)
	}
	t.Logf("%d waits in %v", interrupted, d)

	var failed error
	wg.Go(func() {
		time.Sleep(10 * time.Millisecond)
		failed = p.Wake()
	})
	for start, woken := time.Now(), false; !woken; {
		if time.Since(start) > 10*time.Second {
			t.Fatal("the wake-up was lost", failed)
		}
		if _, woken, err = p.Wait(events, time.Second); err != nil {
			t.Fatal(err)
		}
	}
}
