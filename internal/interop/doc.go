// Package interop has tests of eddy against code that is not eddy's: package net and
// net/http, and the programs curl and openssl. A program that is not installed is not
// run, and the test's log says so.
package interop
