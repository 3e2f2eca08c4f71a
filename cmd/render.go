package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/render"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
)

// renderFlags are the flags of `render`.
type renderFlags struct {
	name, namespace, image string
	mounts                 []string
	autoscale              string
	max                    int
	egress                 []int
	monitoring, account    string
}

func (a *app) renderCommand() *cobra.Command {
	c := group("render", "write Kubernetes or Compose manifests from the same file")
	var f renderFlags
	k8s := &cobra.Command{
		Use: "k8s", Short: "Deployments per stage, a Job, configuration, references to secrets, probes, budgets, network policy, autoscaling",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.render(c.Context(), f, render.Kubernetes) },
	}
	compose := &cobra.Command{
		Use: "compose", Short: "a Compose file: run, and a worker per stage",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.render(c.Context(), f, render.Compose) },
	}
	for _, sub := range []*cobra.Command{k8s, compose} {
		sub.Flags().StringVar(&f.name, "name", "milepost", "what names begin with")
		sub.Flags().StringVar(&f.image, "image", "milepost:"+Version, "image of the containers")
		sub.Flags().StringArrayVar(&f.mounts, "mount", nil, "CLAIM:PATH[:ro], of Compose FOLDER:PATH[:ro]: recordings, bindings and what sinks write")
		c.AddCommand(sub)
	}
	k8s.Flags().StringVar(&f.namespace, "namespace", "", "namespace of the objects")
	k8s.Flags().StringVar(&f.autoscale, "autoscale", "", "keda: scale each stage by the jobs that wait for it")
	k8s.Flags().IntVar(&f.max, "max", 10, "most workers of a stage, with --autoscale")
	k8s.Flags().IntSliceVar(&f.egress, "egress", nil, "more ports that the network policy lets the containers reach, such as 5432 of a result database")
	k8s.Flags().StringVar(&f.monitoring, "nats-monitoring", "", "host:port of a nats-server's http_port, with --autoscale (the transport's first host, port 8222)")
	k8s.Flags().StringVar(&f.account, "nats-account", "$G", "the user's account, with --autoscale")
	return c
}

func (a *app) render(ctx context.Context, f renderFlags, write func(*spec.Spec, render.Options) ([]byte, error)) error {
	s, err := a.loadAlone(ctx)
	if err != nil {
		return err
	}
	if len(a.set) > 0 || a.transport != "" {
		return exit(ExitUsage, errors.New("manifests hold the files as they are, and so neither --set nor --transport\n  next: write it into a file and add that with -f"))
	}
	o := render.Options{Name: f.name, Namespace: f.namespace, Image: f.image, Order: a.files, Files: map[string]string{}, MaxScale: f.max, Egress: f.egress}
	for _, name := range a.files {
		text, err := os.ReadFile(name)
		if err != nil {
			return exit(ExitUsage, err)
		}
		o.Files[name] = string(text)
	}
	if o.Mounts, err = mountsOf(f.mounts); err != nil {
		return exit(ExitUsage, err)
	}
	switch f.autoscale {
	case "":
	case "keda":
		o.Autoscale, o.Scale = true, func(u render.Unit) any { return trigger(s, u, f) }
	default:
		return exit(ExitUsage, fmt.Errorf("--autoscale %s: want keda", f.autoscale))
	}
	text, err := write(s, o)
	if err != nil {
		return exit(ExitUsage, err)
	}
	_, err = a.stdout.Write(text)
	return err
}

func mountsOf(args []string) (all []render.Mount, err error) {
	for _, arg := range args {
		from, path, ok := strings.Cut(arg, ":")
		path, readOnly := strings.CutSuffix(path, ":ro")
		if !ok || from == "" || !strings.HasPrefix(path, "/") || strings.Contains(path, ":") {
			return nil, fmt.Errorf("--mount %s: want CLAIM:/path or CLAIM:/path:ro", arg)
		}
		all = append(all, render.Mount{From: from, Path: path, ReadOnly: readOnly})
	}
	return all, nil
}

// trigger is what a stage is scaled by: its share of the pipeline's jobs.
func trigger(s *spec.Spec, u render.Unit, f renderFlags) any {
	durable := engine.Durable(s.Pipeline(u.Pipeline), u.Stage)
	if k := s.Transport.Kafka; k != nil {
		topic := k.Prefix + u.Pipeline + "." + transport.JobStage
		return render.KafkaTrigger(k.Brokers, topic+"."+durable, topic, u.Parallelism)
	}
	monitoring := f.monitoring
	if monitoring == "" {
		monitoring = "nats:8222"
		if at, err := url.Parse(s.Transport.NATS.URL[0]); err == nil && at.Hostname() != "" {
			monitoring = at.Hostname() + ":8222"
		}
	}
	return render.NATSTrigger(monitoring, f.account, jetstream.StreamName(u.Pipeline, transport.JobStage), jetstream.ConsumerName(durable), u.Parallelism)
}
