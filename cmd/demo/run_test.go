//go:build unix

package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script string // of sh
		r      runner
		status int
		out    []string // in any order
		note   string
	}{
		{"both outputs", "echo one; echo two >&2; printf three", runner{}, 0, []string{"err: two", "out: one", "out: three"}, "exit status 0"},
		{"its status", "exit 7", runner{}, 7, nil, "exit status 7"},
		{"its signal", "kill -9 $$", runner{}, 128 + 9, nil, "signal: killed"},
		{"in time", "echo x", runner{timeout: time.Hour}, 0, []string{"out: x"}, "exit status 0"},
		{
			"too late", "echo begun; exec sleep 100",
			runner{timeout: 500 * time.Millisecond},
			128 + 15,
			[]string{"out: begun"},
			"time is up after 500ms",
		},
		{
			"deaf", "trap '' TERM; echo begun; while :; do sleep 0.01; done",
			runner{timeout: time.Second, grace: 50 * time.Millisecond},
			128 + 9,
			[]string{"out: begun"},
			"signal: killed",
		},
		{
			"left behind", "sleep 1 & echo done",
			runner{grace: 50 * time.Millisecond},
			0,
			[]string{"out: done"},
			"the command's out was still open",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // some take their time
			looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
				var out, note strings.Builder
				tt.r.out, tt.r.note = &out, &note
				if tt.r.grace == 0 {
					tt.r.grace = patience
				}
				status, err := tt.r.run(ctx, []string{"sh", "-c", tt.script})
				if status != tt.status || err != nil {
					t.Errorf("status %d, %v, want %d", status, err, tt.status)
				}
				got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
				slices.Sort(got)
				if want := strings.Join(tt.out, "\n"); strings.Join(got, "\n") != want {
					t.Errorf("printed\n%s\nwant\n%s", &out, want)
				}
				if !strings.Contains(note.String(), tt.note) {
					t.Errorf("noted %q, want %q in it", &note, tt.note)
				}
				return nil
			})
		})
	}
}

// A line is shown when it is there, not at the end.
func TestRunIsLive(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		out := newOutput()
		r := runner{grace: patience, out: out, note: out}
		run := task.Go(ctx, func(ctx context.Context) error {
			_, err := r.run(ctx, []string{"sh", "-c", "echo now; exec sleep 100"})
			return err
		})
		for start := time.Now(); !strings.Contains(out.String(), "out: now\n"); {
			if time.Since(start) > patience {
				t.Fatal("nothing is shown")
			}
			if err := task.Sleep(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		run.Cancel(nil) // as Ctrl-C does: the command ends, and is waited for
		_, _ = run.Await(ctx)
		if !run.Canceled() || !strings.Contains(out.String(), "signal: terminated") {
			t.Errorf("canceled %v, %q", run.Canceled(), out)
		}
		return nil
	})
}

func TestRunLongLine(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		var out, note strings.Builder
		r := runner{grace: patience, out: &out, note: &note}
		status, err := r.run(ctx, []string{"sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"})
		if n := strings.Count(out.String(), "x"); n != 1_000_000 || status != 0 || err != nil {
			t.Errorf("%d bytes are shown, status %d, %v", n, status, err)
		}
		return nil
	})
}

func TestRunCannotStart(t *testing.T) {
	looptest.RunConfig(t, looptest.Config{Real: true}, func(ctx context.Context) error {
		var r runner
		for name, want := range map[string]int{"no-such-command-here": statusNotFound, "/no/such/file": statusNotFound, "/": statusNotRun} {
			if status, err := r.run(ctx, []string{name}); status != want || err == nil {
				t.Errorf("%s: status %d, %v, want %d and an error", name, status, err, want)
			}
		}
		return nil
	})
}
