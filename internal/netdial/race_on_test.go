//go:build race

package netdial_test

const raceEnabled = true
