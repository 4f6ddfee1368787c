# The distribution's clang that the committed BPF objects are built with (Debian 12); a test compares.
CLANG := clang-14
export CLANG

export CGO_ENABLED := 0
TOOL := go tool -modfile=tools/go.mod
TARGETS := linux/amd64 linux/arm64 linux/386 freebsd/amd64 darwin/arm64
FUZZTIME ?= 10s
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build snabb-firehose demo test race libraries lint generate bench fuzz vmtest cross clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## install what tests and generators need on Debian, and only what is missing
	@tools/setup.sh

build: ## the program, as ./weir
	go build -o weir ./cmd/weir

snabb-firehose: ## the plug-in for `snabb firehose`, as build/weir-firehose.so
	mkdir -p build
	gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o build/weir-firehose.so userspace/capture/snabb/firehose/firehose.c

demo: build ## a whole attack on this machine, from flood to drop, in network namespaces
	@tools/setup.sh --demo || true # without a router, the demo says so
	./weir demo

# One package's tests at a time: they measure, and two floods at once would measure each other. Other kernels are emulated, slowly, beside linters and compilers only.
test: setup ferretdb ## everything: linters, all systems' builds, generated code, tests, other kernels
	@mkdir -p build
	@echo "go test -count=1 -timeout 30m ./vmtest # other kernels, beside linters and builds"
	@go test -count=1 -timeout 30m ./vmtest >build/vmtest.log 2>&1 & kernels=$$!; \
		$(MAKE) lint cross; rest=$$?; \
		wait $$kernels || { cat build/vmtest.log; exit 1; }; \
		exit $$rest
	@$(MAKE) race libraries
	go test -count=1 -p 1 -run '^$$' -bench . -benchtime 1x -timeout 20m ./...
	go test -count=1 -v -run '^TestProgramSizes$$' ./loader # how much work the programs are for the verifier
	go test -count=1 -p 1 -timeout 30m $$(go list ./... | grep -v '/vmtest$$')
	@cat build/vmtest.log

ferretdb: ## the server that stands in for MongoDB in tests, into the user's cache
	@tools/ferretdb.sh

# The race detector needs a C compiler, which nothing else does. What drives floods is left out: it is slow under it, and has little to share.
race:
	@if command -v gcc >/dev/null; then \
		CGO_ENABLED=1 go test -count=1 -race -timeout 20m $$(go list ./userspace/... | grep -Ev '/(lab|bench|demo)$$'); \
	else \
		echo 'make race: left out, there is no gcc: apt-get install gcc libc6-dev'; \
	fi

# What is built in by a tag: captures through libpcap, which takes cgo, and through libpfring, which does not.
libraries:
	@if command -v gcc >/dev/null && [ -e /usr/include/pcap/pcap.h ]; then \
		CGO_ENABLED=1 go test -count=1 -tags libpcap ./userspace/capture/pcap; \
	else \
		echo 'make libraries: libpcap left out: apt-get install gcc libc6-dev libpcap-dev'; \
	fi
	go test -count=1 -tags libpfring ./userspace/capture/pfring

lint: ## gofmt, go vet, staticcheck, sloglint
	@unformatted=$$(gofmt -l $$(go list -f '{{.Dir}}' ./...)); \
		if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet -tags libpfring ./userspace/capture/pfring
	$(TOOL) staticcheck ./...
	$(TOOL) sloglint -static-msg -key-naming-case snake -no-global all -msg-style lowercased ./...

generate: setup ## BPF objects with their Go code, and the API from its .proto
	go generate ./...

bench: build ## every benchmark, and what the data plane and detection cost
	go test -p 1 -run '^$$' -bench . ./...
	./weir bench xdp
	./weir bench detect
	./weir bench bgp

fuzz: ## every fuzz test, FUZZTIME each (10s)
	tools/fuzz.sh $(FUZZTIME)

vmtest: setup ## data plane and loader under Debian's kernels in QEMU; KERNELS=5.10,6.1,6.12,newest selects; MODULES=DIR: with netmap.ko, pf_ring.ko
	go test -count=1 -v -timeout 30m -run '^TestKernels$$' ./vmtest

cross: ## build for every system, without cgo, and check that the tests compile there
	@for target in $(TARGETS); do \
		echo "build for $$target"; \
		export GOOS=$${target%/*} GOARCH=$${target#*/}; \
		go build -o build/$$target/weir ./cmd/weir && go vet ./... || exit 1; \
	done

clean: ## remove what was built
	rm -rf weir build
	go clean -testcache
