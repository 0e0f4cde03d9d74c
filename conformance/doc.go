// Package conformance runs small JSON programs on eddy and prints what happens,
// in the form in which CPython's asyncio, running the same program, prints it.
//
// The programs and the traces of CPython are in testdata. A trace has a line for
// each thing that a program does, in order and with its time, so it is the same
// only if everything wakes after the same number of turns. The machine uses what
// any user of eddy can use, and nothing else.
package conformance
