package aiter_test

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/eddyloop/eddy/task"
)

// A store answers one request at a time, each after a while.
type store map[string]int

func (s store) get(ctx context.Context, key string) (int, error) {
	if err := task.Sleep(ctx, time.Millisecond); err != nil {
		return 0, err
	}
	v, ok := s[key]
	if !ok {
		return 0, fmt.Errorf("no key %q", key)
	}
	return v, nil
}

// all fetches the values of the keys, each when it is asked for. It is an async
// iterator: an iter.Seq2 whose body waits. (asyncio: async for)
func (s store) all(ctx context.Context, keys ...string) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for _, key := range keys {
			v, err := s.get(ctx, key)
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Keys are fetched one at a time; leaving the loop early fetches no more.
func Example_keys() {
	_ = task.Run(context.Background(), func(ctx context.Context) error {
		s := store{"a": 1, "b": 2, "c": 3}
		for v, err := range s.all(ctx, "a", "c", "x", "b") {
			if err != nil {
				fmt.Println("error:", err)
				continue
			}
			fmt.Println(v)
		}
		return nil
	})
	// Output:
	// 1
	// 3
	// error: no key "x"
}
