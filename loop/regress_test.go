package loop_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/eddyloop/eddy/loop"
)

// Each of these was a bug.

func TestOverdueCallAtsAreMadeInOrderOfTheirTimes(t *testing.T) {
	l, err := loop.New(loop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got []string
	base := l.Now()
	for l.Now().Sub(base) < 2*time.Millisecond { // the loop's own idea of the time is older
	}
	late := l.CallAt(base.Add(time.Millisecond), func() { got = append(got, "1 ms") })
	l.CallAt(base.Add(time.Millisecond/2), func() { got = append(got, "0.5 ms"); l.CallSoon(l.Stop) })
	if when, ok := late.When(); !ok || !when.Equal(base.Add(time.Millisecond)) {
		t.Errorf("When = %v, %v, want what was asked for", when, ok)
	}
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"0.5 ms", "1 ms"}; !slices.Equal(got, want) {
		t.Errorf("made in order %v, want %v", got, want)
	}
}

func TestALoopThatIsBeingClosedDoesNotRun(t *testing.T) {
	l := virtual(t)
	var got error
	l.OnClose(func(context.Context) error { got = l.Run(); return nil })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(got, loop.ErrClosed) {
		t.Errorf("Run = %v, want ErrClosed", got)
	}
}

func TestNilFunctionsPanic(t *testing.T) {
	l := virtual(t)
	defer l.Close()
	for name, fn := range map[string]func(){
		"CallSoon":  func() { l.CallSoon(nil) },
		"CallLater": func() { l.CallLater(1, nil) },
		"CallAt":    func() { l.CallAt(l.Now(), nil) },
	} {
		wantPanic(t, fn, "loop: "+name+" of a nil function")
	}
}
