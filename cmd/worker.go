package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/cmd/internal/api"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

func (a *app) workerCommand() *cobra.Command {
	var stages []string
	var retain, naive bool
	var metrics string
	c := &cobra.Command{
		Use: "worker [pipeline...]", Short: "only consume: one more process for the same pipelines",
		Long: "Worker takes jobs of stages from a broker that others reach too; `milepost run` on the same broker owns the jobs and the results.",
		RunE: func(c *cobra.Command, args []string) error {
			return a.work(c.Context(), args, stages, retain, naive, metrics)
		},
	}
	monitorFlag(c, &metrics)
	c.Flags().StringSliceVar(&stages, "stages", nil, "only these stages, by name or pipeline/name")
	c.Flags().BoolVar(&retain, "retain", false, "keep every event in the streams instead of trimming what all have read")
	c.Flags().BoolVar(&naive, "naive", false, "at least once, as everybody does it: for the test that tells the difference")
	if err := c.Flags().MarkHidden("naive"); err != nil {
		panic(err)
	}
	return c
}

func (a *app) work(ctx context.Context, pipelines, stages []string, retain, naive bool, metrics string) error {
	a.role = jetstream.RoleWorker
	s, err := a.loadAlone(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(s.CheckNames(pipelines), s.CheckStages(stages, pipelines)); err != nil {
		return exit(ExitUsage, err)
	}
	if kind := s.Transport.Kind(); kind == "embedded" || kind == "memory" {
		return exit(ExitUsage, fmt.Errorf("a worker needs a broker that other processes reach, not transport %s [E-transport]\n"+
			"  next: milepost worker --transport nats://127.0.0.1:4222", kind))
	}
	log, err := a.logger()
	if err != nil {
		return err
	}
	broker, err := a.broker(ctx, s, log)
	if err != nil {
		return err
	}
	defer broker.Close()
	e, err := engine.New(ctx, engine.Settings{Spec: s, Broker: broker, Pipelines: pipelines, Stages: stages, Retain: retain,
		Naive: naive, Reran: a.reran, Log: log})
	if err != nil {
		return builtWrong(err)
	}
	watched, err := monitor(metrics, api.New(api.Config{Spec: s, Engine: e, Broker: broker.Describe(), Version: Version, Log: log}))
	if err != nil {
		return errors.Join(err, e.Close())
	}
	log.Info("working", "transport", broker.Describe().Address, "stages", stages)
	err = errors.Join(e.Run(ctx), e.Close(), watched())
	if err == nil && ctx.Err() != nil {
		return exitError{code: ExitInterrupted}
	}
	return exit(failure(err), err)
}
