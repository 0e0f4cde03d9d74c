//go:build !race

package timerheap

const raceEnabled = false
