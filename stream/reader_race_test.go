//go:build race

package stream_test

// raceEnabled reports whether the race detector is on, which makes everything slow.
const raceEnabled = true
