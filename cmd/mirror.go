package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/mirror"
)

// mirrorFlags are the flags of `mirror`.
type mirrorFlags struct {
	to      string
	toFiles []string
	toState string
}

func (a *app) mirrorCommand() *cobra.Command {
	var f mirrorFlags
	c := &cobra.Command{
		Use: "mirror [pipeline...]", Short: "copy pipelines' jobs and events from the file's transport to another",
		Long: "Mirror copies what the pipelines' logs hold to another transport, without changing an id: finished recordings are finished there, and\n" +
			"the others go on where they were. Stop run and workers first. A mirror that was interrupted goes on when it is started again. Keep the\n" +
			"state directory: the results are in it.",
		RunE: func(c *cobra.Command, args []string) error { return a.mirror(c.Context(), args, f) },
	}
	c.Flags().StringVar(&f.to, "to", "", "embedded, nats://host:port or kafka://host:port")
	c.Flags().StringArrayVar(&f.toFiles, "to-file", nil, "file laid over the others for the destination alone, such as one with another transport block")
	c.Flags().StringVar(&f.toState, "to-state", "", "state directory of an embedded destination")
	return c
}

// A mirrored is what was copied of one log.
type mirrored struct {
	Pipeline string `json:"pipeline"`
	Stage    string `json:"stage"`
	mirror.Sum
}

func (a *app) mirror(ctx context.Context, pipelines []string, f mirrorFlags) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	if f.to == "" && len(f.toFiles) == 0 {
		return exit(ExitUsage, errors.New("where to?\n  next: milepost mirror --to nats://host:4222, or --to-file with another transport block"))
	}
	s, err := a.loadAlone(ctx)
	if err != nil {
		return err
	}
	if err := s.CheckNames(pipelines); err != nil {
		return exit(ExitUsage, err)
	}
	other := *a
	other.files, other.transport, other.state = append(slices.Clone(a.files), f.toFiles...), f.to, f.toState
	t, err := other.loadAlone(ctx)
	if err != nil {
		return err
	}
	if err := a.apart(s, &other, t); err != nil {
		return exit(ExitUsage, err)
	}
	done, err := a.copyLogs(ctx, s, &other, t, pipelines)
	if err != nil {
		return err
	}
	heading := []string{"LOG", "CHAINS", "RECORDS", "BYTES", "PRESENT"}
	return a.show(done, heading, func() (rows [][]string) {
		for _, d := range done {
			rows = append(rows, []string{d.Pipeline + "/" + d.Stage, fmt.Sprint(d.Chains), fmt.Sprint(d.Records), bytesText(int64(d.Bytes)), fmt.Sprint(d.Present)})
		}
		return rows
	})
}

// apart refuses a copy onto itself, and one of or to what dies with the process.
func (a *app) apart(s *spec.Spec, other *app, t *spec.Spec) error {
	from, to := s.Transport, t.Transport
	if from.Memory != nil || to.Memory != nil {
		return errors.New("transport memory is gone with its process: nothing can be mirrored")
	}
	same := from.NATS != nil && to.NATS != nil && slices.Equal(from.NATS.URL, to.NATS.URL) && from.NATS.User == to.NATS.User && from.NATS.Creds == to.NATS.Creds && from.NATS.NKey == to.NATS.NKey ||
		from.Kafka != nil && to.Kafka != nil && slices.Equal(from.Kafka.Brokers, to.Kafka.Brokers) && from.Kafka.Prefix == to.Kafka.Prefix ||
		from.Embedded != nil && to.Embedded != nil && a.stateFolder(s) == other.stateFolder(t)
	if same {
		return errors.New("source and destination are the same\n  next: name another one with --to, --to-file or --to-state")
	}
	return nil
}

func (a *app) copyLogs(ctx context.Context, s *spec.Spec, other *app, t *spec.Spec, pipelines []string) (done []mirrored, err error) {
	log, err := a.logger()
	if err != nil {
		return nil, err
	}
	for _, dir := range slices.Compact([]string{a.stateFolder(s), other.stateFolder(t)}) {
		state, err := holdState(ctx, dir) // nobody runs the pipelines, and an embedded server has one process
		if err != nil {
			return nil, exit(ExitUsage, err)
		}
		defer state.release()
	}
	a.role, other.role = jetstream.RoleReader, jetstream.RoleRun
	from, err := a.broker(ctx, s, log)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := other.broker(ctx, t, log)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	logs := slices.DeleteFunc(engine.Logs(t), func(c transport.LogConfig) bool { return len(pipelines) > 0 && !slices.Contains(pipelines, c.Pipeline) })
	_, err = mirror.Copy(ctx, mirror.Settings{From: from, To: to, Logs: logs, Done: func(c transport.LogConfig, sum mirror.Sum) {
		log.Info("mirrored", "log", c.Pipeline+"/"+c.Stage, "chains", sum.Chains, "records", sum.Records, "present", sum.Present)
		done = append(done, mirrored{c.Pipeline, c.Stage, sum})
	}})
	if ctx.Err() != nil {
		return nil, exitError{ExitInterrupted, fmt.Errorf("interrupted: start it again, it goes on")}
	}
	return done, exit(ExitFailed, err)
}
