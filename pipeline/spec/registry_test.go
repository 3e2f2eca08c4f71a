package spec

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/schemas"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares with a file in testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

type signal struct {
	Channel  pipeline.Strings `yaml:"channel" required:"true" doc:"Names, the first one found is used."`
	Unit     string           `yaml:"unit" doc:"Unit to convert to."`
	Optional bool             `yaml:"optional" doc:"Whether recordings may lack it."`
}

// speed is a scalar of its own: max, realtime or a factor.
type speed float64

func (s *speed) UnmarshalText(text []byte) error {
	switch string(text) {
	case "max":
		*s = 0
	case "realtime":
		*s = 1
	case "10x":
		*s = 10
	default:
		return errors.New("want max, realtime or a factor such as 10x")
	}
	return nil
}

func (s speed) MarshalText() ([]byte, error) {
	return map[speed][]byte{0: []byte("max"), 1: []byte("realtime"), 10: []byte("10x")}[s], nil
}

type mf4Config struct {
	Paths   []string          `yaml:"paths" required:"true" identity:"false" doc:"Globs of recordings."`
	Raster  time.Duration     `yaml:"raster" doc:"Time base for all signals; 0 is each its own."`
	Batch   time.Duration     `yaml:"batch" doc:"Longest slice."`
	Target  pipeline.Size     `yaml:"target" doc:"Bytes of one slice."`
	Speed   speed             `yaml:"speed" identity:"false" doc:"max, realtime or a factor."`
	Signals map[string]signal `yaml:"signals" doc:"Signals by name."`
}

type execConfig struct {
	Command  []string          `yaml:"command" required:"true" doc:"Program and arguments."`
	Protocol string            `yaml:"protocol" enum:"jsonl,item" doc:"How events are handed over."`
	Env      map[string]string `yaml:"env" doc:"Environment."`
}

func (c execConfig) Validate() error {
	if len(c.Command) > 0 && c.Command[0] == "" {
		return pipeline.FieldErrorf("command.0", "a program cannot have an empty name")
	}
	return nil
}

func (c execConfig) Warnings() []error {
	if len(c.Command) > 1 {
		return []error{&pipeline.FieldError{Path: "command.1", Code: "W-path", Err: errors.New("command file " + c.Command[1] + " does not exist")}}
	}
	return nil
}

type aebConfig struct {
	TTCWarn  time.Duration `yaml:"ttc_warn" doc:"Warn below."`
	TTCBrake time.Duration `yaml:"ttc_brake" doc:"Brake below."`
	Decel    float64       `yaml:"decel" doc:"Deceleration in m/s²."`
	Tracks   int           `yaml:"tracks" doc:"Objects that are followed."`
}

func (c *aebConfig) Validate() error {
	if c.TTCBrake > c.TTCWarn {
		return errors.Join(pipeline.FieldErrorf("ttc_brake", "%s is above ttc_warn, so it would brake before it warns", FormatDuration(c.TTCBrake)))
	}
	return nil
}

type windowConfig struct {
	Window struct {
		Tumbling        time.Duration `yaml:"tumbling" required:"true" doc:"Length of each window."`
		AllowedLateness time.Duration `yaml:"allowed_lateness" doc:"How late events still count."`
	} `yaml:"window" required:"true" doc:"When a window begins and ends."`
	GroupBy pipeline.Strings             `yaml:"group_by" doc:"Fields."`
	Metrics map[string]map[string]string `yaml:"metrics" doc:"Aggregates by name."`
}

type healthConfig struct {
	MaxGap      time.Duration `yaml:"max_gap" doc:"Longest gap."`
	FrozenAfter time.Duration `yaml:"frozen_after" doc:"Longest time without a change."`
}

type verdictConfig struct {
	Baseline string `yaml:"baseline" doc:"Results to compare with."`
	FailIf   string `yaml:"fail_if" doc:"Expression."`
}

type fileSinkConfig struct {
	Path        string   `yaml:"path" required:"true" doc:"Folder."`
	PartitionBy []string `yaml:"partition_by" doc:"Keys."`
}

type dbSinkConfig struct {
	DSN   string `yaml:"dsn" required:"true" secret:"true" doc:"Where the database is."`
	Table string `yaml:"table" required:"true" doc:"Table."`
}

type none struct{}

// processor and sink build nothing; package spec never asks them to.
func processor[C any](name, version string, accepts, emits []string, def C) pipeline.StageType {
	return pipeline.ProcessorType[C]{Name: name, Summary: "test " + name, Version: version, Accepts: accepts, Emits: emits, Default: def,
		Build: func(context.Context, C) (pipeline.Open[pipeline.Processor], error) { return nil, io.ErrUnexpectedEOF }}
}

// once is a processor that is not deterministic.
func once[C any](name string, def C) pipeline.StageType {
	t := processor(name, "1", []string{pipeline.Any}, []string{pipeline.Any}, def).(pipeline.ProcessorType[C])
	t.Nondeterministic = true
	return t
}

func sink[C any](name string, accepts ...string) pipeline.StageType {
	return pipeline.SinkType[C]{Name: name, Summary: "test " + name, Version: "1", Accepts: accepts,
		Build: func(context.Context, C) (pipeline.Sink, error) { return nil, io.ErrUnexpectedEOF }}
}

func testRegistry() *pipeline.Registry {
	const window, verdict = "kpi.window.v1", "aeb.verdict.v1"
	r := &pipeline.Registry{}
	r.Add(
		pipeline.ReaderType[mf4Config]{Name: "reader/mf4", Summary: "reads recordings", Version: "2", Emits: []string{schemas.Signals},
			Default: mf4Config{Batch: time.Second, Target: 256 << 10}},
		once("process/exec", execConfig{Protocol: "jsonl"}),
		processor("process/aeb", "3", []string{schemas.Signals}, []string{schemas.AEBActivation, schemas.AEBTicks},
			aebConfig{TTCWarn: 2600 * time.Millisecond, TTCBrake: 1600 * time.Millisecond, Decel: 6}),
		processor("analysis/window", "1", []string{pipeline.Any}, []string{window}, windowConfig{GroupBy: pipeline.Strings{"recording"}}),
		processor("analysis/signal-health", "1", []string{schemas.Signals}, []string{schemas.HealthFinding}, healthConfig{MaxGap: 100 * time.Millisecond}),
		processor("analysis/verdict", "1", []string{schemas.AEBActivation}, []string{verdict}, verdictConfig{}),
		processor("process/swallow", "1", []string{pipeline.Any}, nil, none{}),
		sink[fileSinkConfig]("sink/parquet", pipeline.Any),
		sink[none]("sink/dashboard", pipeline.Any),
		sink[none]("sink/prometheus", window, verdict, schemas.HealthFinding),
		sink[dbSinkConfig]("sink/postgres", pipeline.Any),
	)
	return r
}

var testEnv = map[string]string{"KPI_DSN": "postgres://kpi", "TRACKS": "16", "EMPTY": "", "DECEL": "4.5", "WARN": "3s", "WORD": "many"}

func testOptions(files map[string]string) Options {
	return Options{
		Registry: testRegistry(),
		Env:      func(name string) (string, bool) { v, ok := testEnv[name]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
		},
		Fields: func(eventType string) []string {
			return map[string][]string{schemas.AEBActivation: {"t", "ttc", "speed", "delta_v", "latency_ms"}}[eventType]
		},
	}
}
