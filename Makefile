# Quartet. `make` lists the targets.

SEEDS ?= 200
GO    ?= go
export CGO_ENABLED = 0

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## build bin/quartet
	$(GO) build -trimpath -o bin/quartet ./cmd/quartet

demo: build ## run a Next.js app on Quartet, follow one sign-up to its end, and keep serving (DEMO_EXIT=1: stop after the run)
	@scripts/demo

test: ## install what the tests need and run all of them
	@scripts/test

test-go: ## run the Go tests only, with nothing to install
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -race ./...

test-e2e: build ## run the official SDKs against the real binary
	@scripts/test e2e

sim: ## run the simulation with SEEDS seeds, or one with SEED=n
	$(GO) test ./internal/sim -count=1 -run TestSimulation -v -args -seeds=$(SEEDS) $(if $(SEED),-seed=$(SEED))

bench: build ## measure, print ratios
	$(GO) run ./bench $(BENCH)

bench-bullmq: build ## measure BullMQ beside Debian's redis-server
	@scripts/bench-bullmq

web: ## build the dashboard into internal/dashboard/dist
	cd web && npm ci && npm run build

fmt: ## format everything
	$(GO) fix ./...
	$(GO) tool -modfile=tools/go.mod gofumpt -w bench cmd internal test

.PHONY: help build demo test test-go test-e2e sim bench bench-bullmq web fmt
