module github.com/eddyloop/eddy/bench

go 1.26.0

require github.com/eddyloop/eddy v0.0.0

require golang.org/x/sys v0.49.0

replace github.com/eddyloop/eddy => ../
