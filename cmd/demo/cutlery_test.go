package main

import (
	"sync"
	"testing"
)

// The way without locks is a data race and not tested: see demo cutlery -h.
func TestCutleryIsComplete(t *testing.T) {
	const tables = 1000
	for _, tt := range []struct {
		name  string
		serve func() (cutlery, error)
	}{
		{"loop", func() (cutlery, error) { return serveOnLoop(tables) }},
		{"mutex", func() (cutlery, error) { return serveWithGoroutines(tables, new(sync.Mutex)), nil }},
	} {
		if kitchen, err := tt.serve(); err != nil || !kitchen.complete() {
			t.Errorf("%s: %v, %v; want %d of each", tt.name, &kitchen, err, kitchenHas)
		}
	}
}

func TestOrderMovesWhatItSays(t *testing.T) {
	kitchen, own := cutlery{kitchenHas, kitchenHas}, cutlery{}
	prepareTable.do(&kitchen, &own)
	if want := (cutlery{perTable, perTable}); own != want || kitchen.complete() {
		t.Errorf("after prepare: the robot has %v, the kitchen %v", &own, &kitchen)
	}
	clearTable.do(&kitchen, &own)
	if own != (cutlery{}) || !kitchen.complete() {
		t.Errorf("after clear: the robot has %v, the kitchen %v", &own, &kitchen)
	}
}
