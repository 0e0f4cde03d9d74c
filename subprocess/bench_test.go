//go:build unix

package subprocess_test

import (
	"context"
	"os/exec"
	"testing"

	"github.com/eddyloop/eddy/internal/testkit"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/subprocess"
)

// BenchmarkRun is the start of a process and the wait for its exit. Most of it is the
// system's.
func BenchmarkRun(b *testing.B) {
	b.Run("os-exec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	onLoops(b, func(b *testing.B, ctx context.Context) {
		for b.Loop() {
			testkit.Must(b, subprocess.Command("/bin/true").Run(ctx))
		}
	})
}

// BenchmarkOutput is a process whose output is read.
func BenchmarkOutput(b *testing.B) {
	b.Run("os-exec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := exec.Command("/bin/echo", "hello").Output(); err != nil {
				b.Fatal(err)
			}
		}
	})
	onLoops(b, func(b *testing.B, ctx context.Context) {
		for b.Loop() {
			_, err := subprocess.Command("/bin/echo", "hello").Output(ctx)
			testkit.Must(b, err)
		}
	})
}

func onLoops(b *testing.B, fn func(b *testing.B, ctx context.Context)) {
	for _, name := range []string{"eddy-handle", "eddy-goroutine"} {
		b.Run(name, func(b *testing.B) {
			looptest.RunConfig(b, looptest.Config{Real: true}, func(ctx context.Context) error {
				if name == "eddy-goroutine" {
					subprocess.WaitByGoroutines(loop.FromContext(ctx))
				}
				b.ReportAllocs()
				fn(b, ctx)
				return nil
			})
		})
	}
}
