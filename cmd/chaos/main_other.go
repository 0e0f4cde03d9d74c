//go:build !linux

// Chaos shows what eddy survives. It runs on Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "chaos: runs on Linux only")
	os.Exit(2)
}
