//go:build !race

package subprocess_test

const raceEnabled = false
