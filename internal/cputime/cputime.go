// Package cputime tells how much processor time the process has used, for tests
// with a limit: on a busy machine the wall clock says more about the neighbors.
package cputime
