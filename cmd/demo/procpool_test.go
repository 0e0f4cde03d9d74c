//go:build unix

package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/task"
)

func init() { executor.WorkerMain() } // the workers are this test

func TestProcpoolAccountsForEveryJob(t *testing.T) {
	var out strings.Builder
	d := &procpool{out: &out, jobs: 60, kills: 3, size: 5_000_000}
	if err := task.Run(context.Background(), d.main); err != nil {
		t.Errorf("%v:\n%s", err, &out)
	}
	if !strings.Contains(out.String(), "every job and every process is accounted for") {
		t.Errorf("it said:\n%s", &out)
	}
}

func TestSums(t *testing.T) {
	if err := sums(context.Background(), io.Discard, 1); err != nil {
		t.Error(err)
	}
}
