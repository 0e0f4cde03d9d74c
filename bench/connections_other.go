//go:build !linux

package main

import (
	"errors"
	"os/exec"
)

// The rows of connections need epoll, the clocks of other processes and cores that
// one can choose.
var connectionBenches []bench

func (*loadJob) run() { panic(errors.ErrUnsupported) }

func twoCores() []int { return nil }

func startOn(_ []int, _ int, cmd *exec.Cmd) error { return cmd.Start() }
