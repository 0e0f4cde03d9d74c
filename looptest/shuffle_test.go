//go:build unix

package looptest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/poller"
	"github.com/eddyloop/eddy/task"
)

func TestAShuffledPollerIsAPoller(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			looptest.TestPoller(t, func() (poller.Poller, error) {
				p, err := poller.New()
				if err != nil {
					return nil, err
				}
				return looptest.ShufflePoller(p, seed), nil
			})
		})
	}
}

func TestSeedsShuffleWhatIsReadyTogether(t *testing.T) {
	order := func(seed uint64) (got string) {
		looptest.RunConfig(t, looptest.Config{Real: true, Shuffle: true, Seed: seed}, func(ctx context.Context) error {
			l := loop.FromContext(ctx)
			left := make(chan struct{}, 1)
			const n = 8
			for i := range n {
				r, w, err := os.Pipe()
				if err != nil {
					return err
				}
				defer r.Close()
				defer w.Close()
				if _, err := w.Write([]byte{1}); err != nil {
					return err
				}
				fd := int(r.Fd())
				if err := l.AddReader(fd, func() {
					l.RemoveReader(fd)
					if got += fmt.Sprint(i); len(got) == n {
						left <- struct{}{}
					}
				}); err != nil {
					return err
				}
			}
			return poll(ctx, left)
		})
		return got
	}
	if a, b := order(1), order(1); a != b {
		t.Errorf("one seed gave the orders %s and %s", a, b)
	}
	seen := make(map[string]bool)
	for seed := range uint64(10) {
		seen[order(seed+1)] = true
	}
	if len(seen) < 3 {
		t.Errorf("ten seeds gave only the orders %v", seen)
	}
}

// poll yields until something arrives.
func poll(ctx context.Context, c chan struct{}) error {
	for {
		select {
		case <-c:
			return nil
		default:
		}
		if err := task.Yield(ctx); err != nil {
			return err
		}
	}
}
