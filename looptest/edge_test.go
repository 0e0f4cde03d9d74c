package looptest_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyloop/eddy/coro"
	"github.com/eddyloop/eddy/executor"
	"github.com/eddyloop/eddy/future"
	"github.com/eddyloop/eddy/loop"
	"github.com/eddyloop/eddy/looptest"
	"github.com/eddyloop/eddy/task"
)

func TestEdge023_TheDefaultPoolIsMadeOnUseAndEndsWithTheLoop(t *testing.T) {
	var p *executor.Pool
	var left *future.Future[int]
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		job := func(context.Context) (int, error) { return 1, nil }
		if _, err := executor.Do(ctx, job); err != nil {
			return err
		}
		if p = executor.Default(l); p != executor.Default(l) {
			t.Error("there are two default pools")
		}
		left = executor.Submit(l, nil, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
		if err := p.Shutdown(canceledContext()); err == nil && !left.Done() {
			t.Error("Shutdown says that all jobs have ended")
		}
		if _, err := executor.Do(ctx, job); err != executor.ErrClosed {
			t.Errorf("Do after Shutdown: %v", err)
		}
		if err := executor.Submit(l, nil, job).Err(); err != executor.ErrClosed {
			t.Errorf("Submit after Shutdown: %v", err)
		}
		return nil
	})
	if s := p.Stats(); s.Running != 0 || s.Queued != 0 {
		t.Errorf("after the end: %+v", s)
	}
}

func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Nothing warns of what was not closed: the loop's Close ends it all.
func TestEdge144_CloseLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l, err := loop.New(loop.Config{Clock: looptest.NewClock(time.Time{})})
	if err != nil {
		t.Fatal(err)
	}
	cleaned := 0
	for range 5 {
		task.Go(l.Context(), func(ctx context.Context) error {
			defer func() { cleaned++ }()
			c := coro.NewIn(l.Coroutines(), func(yield func(int) (int, error)) (int, error) {
				defer func() { cleaned++ }()
				if err := task.Sleep(ctx, time.Hour); err != nil {
					return 0, err
				}
				return yield(1)
			})
			defer c.Close()
			c.Next()
			return nil
		})
	}
	l.CallLater(time.Minute, l.Stop)
	l.CallLater(time.Hour, func() { t.Error("a timer fired after the end") })
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil || cleaned != 10 {
		t.Errorf("Close: %v, %d were ended, want 10", err, cleaned)
	}
	goleak.VerifyNone(t, before)
}

func TestEdge145_WhoAwaitsWhom(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		f, p := future.New[int](l)
		leaf := task.Start(ctx, func(ctx context.Context) (int, error) { return f.Await(ctx) })
		leaf.SetName("leaf")
		await := func(ctx context.Context) error { _, err := leaf.Await(ctx); return err }
		says := map[string]string{ // what each task's String says that it awaits
			"task": "leaf", "WaitFor": "leaf", "Timeout": "leaf", "generator": "leaf", "child": "leaf",
			"Gather": "gather of 2, 2 left", "Wait": "", "Shield": "", "Scope": "", "AsCompleted": "",
		}
		start := func(name string, fn func(ctx context.Context) error) { task.Go(ctx, fn).SetName(name) }
		start("task", await)
		start("WaitFor", func(ctx context.Context) error { _, err := task.WaitFor(ctx, time.Hour, leaf); return err })
		start("Timeout", func(ctx context.Context) error {
			return task.Timeout(ctx, time.Hour, func(ctx context.Context, _ *task.TimeoutScope) error { return await(ctx) })
		})
		start("generator", func(ctx context.Context) error {
			coro.New(func(func(int) (int, error)) (int, error) { return 0, await(ctx) }).Next()
			return nil
		})
		start("Scope", func(ctx context.Context) error {
			return task.Scope(ctx, func(ctx context.Context, g *task.Group) error { g.Go(await).SetName("child"); return nil })
		})
		start("Gather", func(ctx context.Context) error { _, err := task.Gather(ctx, leaf, leaf); return err })
		start("Wait", func(ctx context.Context) error { _, _, err := task.Wait(ctx, task.AllCompleted, leaf); return err })
		start("Shield", func(ctx context.Context) error { _, err := future.Shield(leaf.Future).Await(ctx); return err })
		start("AsCompleted", func(ctx context.Context) error {
			for range task.AsCompleted(ctx, leaf) {
			}
			return nil
		})
		if err := looptest.WaitIdle(ctx); err != nil {
			return err
		}
		report := looptest.Report(l)
		for _, tk := range task.All(l) {
			what, ok := says[tk.Name()]
			if !ok {
				continue
			}
			delete(says, tk.Name())
			if tk.Awaits() == nil || !strings.HasPrefix(tk.String(), tk.Name()+" (awaits "+what) {
				t.Errorf("%v, want one that awaits %q", tk, what)
			}
			if what == "leaf" && future.CellOf(tk.Awaits()) != future.CellOf(leaf) {
				t.Errorf("%s awaits %v", tk.Name(), tk.Awaits())
			}
			if !strings.Contains(report, tk.String()+", ") {
				t.Errorf("the report does not list %v:\n%s", tk, report)
			}
		}
		if len(says) != 0 {
			t.Errorf("not listed: %v", says)
		}
		p.Resolve(1)
		return nil
	})
}

func TestEdge146_NamesOfTasksInACircle(t *testing.T) {
	looptest.Run(t, func(ctx context.Context) error {
		l := loop.FromContext(ctx)
		var a, b *task.Task[int]
		a = task.Start(ctx, func(ctx context.Context) (int, error) { return b.Await(ctx) })
		b = task.Start(ctx, func(ctx context.Context) (int, error) { return a.Await(ctx) })
		a.SetName("a")
		b.SetName("b")
		inner := future.Gather(l, a, b)
		outer := future.Gather(l, inner)
		if err := task.Yield(ctx); err != nil {
			return err
		}
		for _, tt := range []struct {
			got  fmt.Stringer
			want string
		}{{a, "a (awaits b)"}, {b, "b (awaits a)"}, {inner, "gather of 2, 2 left"}, {outer, "gather of 1, 1 left"}} {
			if got := tt.got.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		}
		a.Cancel(nil)
		if _, err := outer.Await(ctx); err == nil || a.String() != "a (canceled)" || b.String() != "b (canceled)" {
			t.Errorf("%v, %v, %v", err, a, b)
		}
		return nil
	})
}

const edges = 146

var (
	edgeRow  = regexp.MustCompile(`^\| *(\d+) *\|`)
	citation = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Example)\\w*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Example)\w*)\(`)
	edgeTest = regexp.MustCompile(`^TestEdge(\d{3})_`)
	verdicts = []string{"same as asyncio", "better by design: ", "differs: ", "not applicable: "}
)

// testsOf returns the tests below root, as folder.Name.
func testsOf(t *testing.T, root string) map[string]bool {
	tests := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests[filepath.ToSlash(dir)+"."+string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// TestSemanticsDocument holds docs/SEMANTICS.md against the tests.
func TestSemanticsDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/SEMANTICS.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOf(t, "..")
	cited := make(map[string]bool)
	var numbers []int
	for line := range strings.Lines(string(text)) {
		for _, m := range citation.FindAllStringSubmatch(line, -1) {
			if name := m[1] + "." + m[2]; !tests[name] {
				t.Errorf("%s is cited and does not exist", name)
			}
		}
		m := edgeRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1])
		numbers = append(numbers, n)
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 {
			t.Errorf("%d: %d cells, want 4", n, len(cells)-2)
			continue
		}
		verdict := strings.TrimSpace(cells[3])
		if !slices.ContainsFunc(verdicts, func(v string) bool { return strings.HasPrefix(verdict, v) }) {
			t.Errorf("%d: the verdict is %q", n, verdict)
		}
		own := 0
		for _, m := range citation.FindAllStringSubmatch(cells[4], -1) {
			cited[m[1]+"."+m[2]] = true
			if e := edgeTest.FindStringSubmatch(m[2]); e != nil && e[1] == fmt.Sprintf("%03d", n) {
				own++
			}
		}
		if own == 0 && !strings.HasPrefix(verdict, "not applicable") {
			t.Errorf("%d: no test of its number is cited", n)
		}
	}
	want := make([]int, edges)
	for i := range want {
		want[i] = i + 1
	}
	if !slices.Equal(numbers, want) {
		t.Errorf("the numbers are %v, want 1 to %d", numbers, edges)
	}
	for name := range tests {
		if _, fn, _ := strings.Cut(name, "."); edgeTest.MatchString(fn) && !cited[name] {
			t.Errorf("%s is not cited", name)
		}
	}
}
