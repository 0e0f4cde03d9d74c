package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A mutant must not rot: whoever changes the text that it replaces mends it. That
// it is caught is for make mutants to say.
func TestMutantsApply(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if seen[m.name] {
				t.Error("the name is there twice")
			}
			seen[m.name] = true
			texts := make(map[string]string)
			for _, e := range m.edits {
				text, ok := texts[e.file]
				if !ok {
					data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
					if err != nil {
						t.Fatal(err)
					}
					text = string(data)
				}
				after, err := e.apply(text)
				if err != nil {
					t.Fatal(err)
				}
				if after == text {
					t.Errorf("%s: the edit changes nothing", e.file)
				}
				texts[e.file] = after
			}
			for file, text := range texts {
				if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
