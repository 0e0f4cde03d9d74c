# make test is what must pass before a commit. It needs Go alone; with a C
# compiler it also looks for data races.

GO      ?= go
TIMEOUT ?= 10m

# The systems that eddy supports beside the one this runs on.
VET_OS := darwin freebsd openbsd netbsd

# The race detector needs cgo, and cgo needs a C compiler.
RACE := $(shell set -- $$($(GO) env CC); \
	[ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$1" >/dev/null && echo -race)

# Modules of their own, for what they depend on.
NESTED := bench thread/linear

.PHONY: help test fmt fmt-check vet unit timed linear mutants lint chaos reliability bench demo

help:
	@echo 'make test    format, vet for all systems, tests with -race, then the timed and large tests'
	@echo 'make unit    only the tests, with -race if there is a C compiler'
	@echo 'make timed   only the timed and large tests, without -race'
	@echo 'make linear  are the queues of package thread linearizable?'
	@echo 'make lint    staticcheck and gofumpt, at the versions of tools/go.mod'
	@echo 'make chaos   what eddy survives: faults and loads, scenario by scenario'
	@echo 'make reliability   the same, written to docs/RELIABILITY.md'
	@echo 'make mutants bugs put into copies of eddy, one at a time: does package conformance catch each?'
	@echo 'make vet     go vet for this system and: $(VET_OS)'
	@echo 'make fmt     gofmt everything'
	@echo 'make demo    the guided tour'
	@echo 'make bench   the comparisons with goroutines and with other libraries'

test: fmt-check vet unit timed linear

fmt:
	gofmt -w .

fmt-check:
	@files=$$(find . -name '*.go' -not -path './.git/*' -exec gofmt -l {} +) || exit 1; \
	if [ -n "$$files" ]; then echo "not formatted, run make fmt:"; echo "$$files"; exit 1; fi

vet:
	$(GO) vet ./...
	@for os in $(VET_OS); do \
		echo "GOOS=$$os $(GO) vet ./..."; GOOS=$$os CGO_ENABLED=0 $(GO) vet ./... || exit 1; \
	done
	@for dir in $(NESTED); do echo "cd $$dir && $(GO) vet ./..."; (cd $$dir && $(GO) vet ./...) || exit 1; done

unit:
	@[ -n '$(RACE)' ] || echo 'No C compiler is found or cgo is off: the tests run without -race, so data races go unseen.'
	$(GO) test $(RACE) -shuffle=on -timeout $(TIMEOUT) ./...

# Under -race time and memory mean nothing, and the large tests run shortened.
timed:
	$(GO) test -shuffle=on -timeout $(TIMEOUT) -run 'Timed|Large' ./...

linear:
	cd thread/linear && $(GO) test $(RACE) -shuffle=on -timeout $(TIMEOUT) ./...

lint:
	cd tools && $(GO) build -o bin/ tool
	tools/bin/staticcheck ./...
	@files=$$(tools/bin/gofumpt -l .); if [ -n "$$files" ]; then echo "not formatted by gofumpt:"; echo "$$files"; exit 1; fi

chaos:
	$(GO) run ./cmd/chaos

# docs/RELIABILITY.md is what the scenarios said when they were last run. Some ten minutes.
reliability:
	$(GO) run ./cmd/chaos -json > reliability.json
	$(GO) run ./cmd/chaos -doc reliability.json > docs/RELIABILITY.md
	rm reliability.json

# No part of test: it takes one to three minutes.
mutants:
	$(GO) run ./conformance/mutants

bench:
	cd bench && $(GO) run .

demo:
	$(GO) run ./cmd/demo tour
