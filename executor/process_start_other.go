//go:build !unix

package executor

import (
	"errors"
	"os"
)

const processesSupported = false

func (p *ProcessPool) spawnAll() {}

func terminate(*os.Process) {}

func channel(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }
