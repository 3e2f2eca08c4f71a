# Every task of the project, the same locally and in CI. `make` alone prints them.
GO       ?= go
ROADLOGS ?= ../shared/roadlogs
MF4      ?= ../shared/mf4
CORPUS   ?= $(MF4)
DAMAGED  ?= 2000
SEED     ?= 1
FUZZTIME ?= 10m
KILLS    ?= 18
export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help build test race lint kafka test-kafka test-postgres e2e-kafka mutants fuzz bench bench-mf4 asammdf corpus corpus-check corpus-mf4 damage-mf4 e2e-kill e2e-power e2e-browser e2e-plugin e2e-containers e2e-local image up down chaos chaos-naive corpus-chaos soak bench-price screenshots samples schema

help: ## print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/milepost, one static binary
	$(GO) build -o bin/milepost ./cmd/milepost

test: ## unit tests, simulation, whole pipelines on embedded JetStream
	$(GO) test ./...

# Packages where goroutines share something: not those that only compute, nor harnesses that start processes; of two large ones the tests that have many at once.
SHARING = $(shell $(GO) list ./... | grep -v '/\(e2e\|bench\|samples\|examples\)\(/\|$$\)\|/settle$$\|/cmd$$\|/mdf$$\|/aeb\(kpi\)\?$$')
race: ## the same under the race detector (needs a C compiler), without what shares nothing between goroutines
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $(SHARING)
	CGO_ENABLED=1 $(GO) test -race -short -run 'Scan|Cancel|Merge|Written|Shared' ./stages/reader/mdf
	CGO_ENABLED=1 $(GO) test -race -short -run 'Interrupt|Dashboard|Holder|StoppedRun|FailsAlone' ./cmd

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt -w these files"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags 'asammdf corpus e2e browser kafka mutants containers postgres' ./...
	$(GO) vet -tags local ./e2e/containers
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

image: ## milepost:latest, a static image FROM scratch; no registry is asked
	GOOS=linux $(GO) build -o bin/image/milepost ./cmd/milepost
	@for f in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do \
	  if [ -e $$f ]; then cp -L $$f bin/image/ca-certificates.crt; exit 0; fi; done; echo "no certificate authorities on this machine" >&2; exit 1
	docker build -q -t $(or $(MILEPOST_IMAGE),milepost:latest) -f Dockerfile bin/image

COMPOSE ?= docker compose
BROKER  ?= nats
WORKERS ?= 2
up down: export MILEPOST_USER ?= $(shell id -u):$(shell id -g)
up down: export PIPELINES_DIR ?= $(CURDIR)
up: image ## broker (BROKER=nats|kafka), WORKERS=2, Prometheus and Grafana in containers; then milepost run --transport nats://127.0.0.1:4222
	$(COMPOSE) --profile $(BROKER) up -d --scale worker-$(BROKER)=$(WORKERS)

down: ## stop what `make up` started; DATA=1 removes what brokers have stored, too
	$(COMPOSE) --profile nats --profile kafka down $(if $(DATA),--volumes)

e2e-containers: image ## whole pipelines on NATS and Kafka in containers; NATS_IMAGE, KAFKA_IMAGE name others, e2e/containers/images builds some
	$(GO) test -tags containers -count=1 -timeout 20m ./e2e/containers

e2e-local: ## the same cases on processes
	$(GO) test -tags local -count=1 -timeout 20m ./e2e/containers

kafka: ## one Apache Kafka broker on loopback until Ctrl-C; apt-get install maven openjdk-17-jre-headless
	$(GO) run ./transport/kafka/kafkatest/cmd/kafka

test-kafka: ## the Kafka driver, and a mirror to it, on a real broker
	$(GO) test -tags kafka -count=1 -timeout 20m ./transport/kafka/... ./transport/mirror

test-postgres: ## sink/postgres on a real server, which it starts; apt-get install postgresql
	$(GO) test -tags postgres -count=1 -timeout 10m ./stages/analysis/sink/postgres

mutants: ## every rule of settlement removed in turn; the simulation must notice each
	$(GO) test -tags mutants -run Mutants -count=1 ./pipeline/engine/settle/...

fuzz: ## every fuzz target in turn, FUZZTIME in all, shared evenly; EACH=10m gives so much to each
	@GO="$(GO)" e2e/fuzz $(if $(EACH),-each $(EACH),$(FUZZTIME))

bench: export ROADLOGS := $(ROADLOGS)
bench: build ## the corpus replay measured: road seconds, MB/s, events/s, shares, RSS
	$(GO) run ./bench/replay -milepost bin/milepost -roadlogs "$$ROADLOGS"

bench-mf4: export DIR := $(or $(DIR),out/bench-mf4)
bench-mf4: build ## decode 500 MB files beside asammdf and mdfr, which pip installs into DIR (1.5 GB; needs python3-venv)
	test -x "$$DIR/venv/bin/python" || python3 -m venv "$$DIR/venv"
	"$$DIR/venv/bin/pip" install -q asammdf==8.8.28 mdfr==0.7.3
	$(GO) run ./bench/mf4 -milepost bin/milepost -dir "$$DIR" -python "$$DIR/venv/bin/python" $(BENCHFLAGS)

asammdf: export DIR := $(or $(DIR),out/asammdf)
asammdf: ## asammdf, which pip installs into DIR, reads what we write (needs python3-venv)
	test -x "$$DIR/venv/bin/python" || python3 -m venv "$$DIR/venv"
	"$$DIR/venv/bin/pip" install -q asammdf==8.8.28
	ASAMMDF_PYTHON="$$(cd "$$DIR" && pwd)/venv/bin/python" MF4=$(abspath $(MF4)) $(GO) test -tags asammdf -count=1 -run ASAMMDF ./stages/reader/mdf

corpus: export ROADLOGS := $(ROADLOGS)
corpus: export OUT := $(OUT)
corpus: export EXPECTED := $(EXPECTED)
corpus: build ## replay ROADLOGS through the whole pipeline into OUT, compare with EXPECTED
	@$(GO) run ./e2e/corpus -milepost bin/milepost -roadlogs "$$ROADLOGS" -out "$$OUT" -expected "$$EXPECTED"

corpus-check: ## the decoder and the function alone against the shared recordings
	ROADLOGS=$(abspath $(ROADLOGS)) MF4=$(abspath $(MF4)) $(GO) test -tags corpus -run 'Corpus|Road[lL]ogs' -count=1 ./stages/... ./e2e/corpus/...

corpus-mf4: build ## digests of every channel of CORPUS (MDF 4 files) compared with its reference.jsonl and bus_reference.jsonl
	@$(GO) run ./e2e/mf4corpus -milepost bin/milepost -corpus "$(CORPUS)"

damage-mf4: build ## 2000 damaged copies of the files in CORPUS: none may panic, take 5 s or 256 MB
	@$(GO) run ./e2e/mf4damage -milepost bin/milepost -corpus "$(CORPUS)" -files $(DAMAGED) -seed $(SEED)

CASES ?= Kafka
e2e-kafka: build ## whole pipelines on a real Kafka broker: kills of workers and of the broker, what it refuses, how long a failover takes
	ROADLOGS=$(abspath $(ROADLOGS)) $(GO) test -tags 'e2e kafka' -run '$(CASES)' -v -count=1 -timeout 25m ./e2e/kill

e2e-kill: build ## kill the binary from outside, at KILLS counts of a corpus, start it again, compare every byte
	ROADLOGS=$(abspath $(ROADLOGS)) $(GO) test -tags e2e -count=1 -timeout 20m -skip PowerCut ./e2e/kill -kills $(KILLS)

e2e-power: build ## cut the power, with and without written-through files, and go on from what the disk kept
	ROADLOGS=$(abspath $(ROADLOGS)) $(GO) test -tags e2e -count=1 -timeout 20m -run PowerCut ./e2e/kill

DURATION ?= 60s
chaos: ## kill, freeze, cut off and mislead everything for DURATION, compare every byte; SEED, BROKER=embedded|nats|r3|kafka; needs root
	$(GO) run ./e2e/chaos -broker $(BROKER) -seed $(SEED) -duration $(DURATION) -keep "$(KEEP)"

chaos-naive: ## the same at least once, as everybody does it, which has to come out wrong
	$(GO) run ./e2e/chaos -broker $(BROKER) -seed $(SEED) -duration $(DURATION) -naive

corpus-chaos: build ## make corpus while milepost is killed 20 times; compared with EXPECTED
	$(GO) build -o bin/unruly ./e2e/chaos/unruly
	@MILEPOST=$(abspath bin/milepost) DEATHS=20 $(GO) run ./e2e/corpus -milepost bin/unruly -roadlogs "$(ROADLOGS)" -out "$(OUT)" -expected "$(EXPECTED)"

soak: build ## full load for DURATION: memory, goroutines, files and streams must not grow
	$(GO) run ./bench/soak -milepost bin/milepost -duration $(DURATION)

ON    ?= embedded
SIZES ?= 256
bench-price: ## what the guarantee costs: a stage against a loop written by hand; ON=embedded,nats,kafka SIZES=256,1 (KiB)
	$(GO) run ./bench/price -on $(ON) -sizes $(SIZES)

e2e-browser: build ## the dashboard in a real Chromium; apt-get install chromium fonts-dejavu-core
	$(GO) test -tags browser -count=1 ./e2e/browser/...

screenshots: build ## pictures of every page into out/screenshots
	$(GO) test -tags browser -count=1 -run Screenshots ./e2e/browser/... -screenshots $(abspath out/screenshots)

e2e-plugin: ## a binary with a stage plugin of its own
	$(GO) test -count=1 ./examples/... && $(GO) build -o bin/hard-brake ./examples/hard-brake/cmd/hard-brake && bin/hard-brake stages ls

samples: ## write the sample recordings again
	$(GO) generate ./samples

schema: ## write schemas/pipelines.schema.json again
	$(GO) run ./cmd/milepost schema > schemas/pipelines.schema.json
