// Demo shows eddy at work, on real sockets. Each subcommand is a program of its
// own; demo -h lists them, demo SUBCOMMAND -h explains one.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/eddyloop/eddy/executor"
)

// A command is a demo. run returns the exit status.
type command struct {
	name, args, about string
	run               func(fs *flag.FlagSet, args []string) int
}

func commands() []command {
	return []command{
		{"tour", "", "serve 500 clients, 200 lines each, through an executor; then account for every line", runTour},
		{
			"echo", "[-style protocol|stream|machine|idle] [-addr HOST:PORT | -port N] [-loops N] [-tls] [-wait auto|sleep|doze]",
			"a TCP echo server, written in four ways, on one loop or several, with TLS or without", runEcho,
		},
		{"chat", "[-addr HOST:PORT] [-limit N] [-slow drop|cut]", "a chat for nc: one who reads too slowly keeps nobody waiting", runChat},
		{"proxy", "-to HOST:PORT [-addr HOST:PORT] [-rate BYTES]", "a TCP proxy that can be slow, with an account of each connection", runProxy},
		{"run", "[-timeout D] [-grace D] COMMAND [ARGUMENTS]", "run a command, show what it prints line by line, end it when its time is up", runRun},
		{"cutlery", "[N]", "10 robots pass knives and forks around, with tasks and with goroutines; none may be missing", runCutlery},
		{"procpool", "[-jobs N] [-kills N]", "jobs in worker processes, some of which are killed with kill -9; every job is accounted for", runProcpool},
		{"sums", "[-times N]", "long sums with a pool of goroutines and with a pool of processes, with times", runSums},
	}
}

func main() {
	executor.WorkerMain() // this program is also its own worker processes
	os.Exit(dispatch(os.Args[1:]))
}

func dispatch(args []string) int {
	if len(args) == 0 {
		usage(os.Stderr)
		return 2
	}
	for _, c := range commands() {
		if c.name == args[0] {
			fs := flag.NewFlagSet("demo "+c.name, flag.ExitOnError)
			fs.Usage = func() {
				fmt.Fprintf(fs.Output(), "usage: demo %s %s\n\n%s\n", c.name, c.args, c.about)
				fs.PrintDefaults()
			}
			return c.run(fs, args[1:])
		}
	}
	if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help" {
		usage(os.Stdout)
		return 0
	}
	fmt.Fprintf(os.Stderr, "demo: no subcommand %q\n", args[0])
	usage(os.Stderr)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: demo SUBCOMMAND [flags]")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.about)
	}
}

// untilSignal returns a context that ends with the first Ctrl-C, or SIGTERM. The
// second one ends the process. What is one loop has this from [task.Main].
func untilSignal() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// parse parses flags and refuses arguments that are none.
func parse(fs *flag.FlagSet, args []string) bool {
	_ = fs.Parse(args) // exits on an error
	if fs.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "%s: unexpected argument %q\n", fs.Name(), fs.Arg(0))
		fs.Usage()
		return false
	}
	return true
}
