//go:build unix && !linux

package stream_test

const (
	spreads     = false
	hasAbstract = false
)
