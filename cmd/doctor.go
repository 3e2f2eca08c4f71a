package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/pipeline/engine"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/transport"
	"github.com/milepost-dev/milepost/transport/jetstream"
	"github.com/milepost-dev/milepost/transport/kafka"
)

// A finding is one line of `milepost doctor`. A fault comes with the one thing that mends it.
type finding struct {
	Status string `json:"status"` // ok, warn or FAIL
	Check  string `json:"check"`
	Text   string `json:"text"`
	Fix    string `json:"fix,omitempty"`
}

const (
	fine  = "ok"
	doubt = "warn"
	wrong = "FAIL"
)

// doctorFlags are the flags of `doctor`.
type doctorFlags struct {
	permissions bool
	role        string
	stages      []string
}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use: "doctor", Short: "check broker, permissions, limits, clock, disk, recordings and stages; one fix per finding",
		Long: "Doctor looks at all that a run needs, changes nothing, and says one fix for each finding. Exit code 1 if there is a fault, 3 if the\n" +
			"transport cannot be used. With --permissions it prints what the user of each role has to be permitted on the broker, and no more.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c.Context(), f) },
	}
	c.Flags().BoolVar(&f.permissions, "permissions", false, "print the least permissions of each role (or of --role) instead")
	c.Flags().StringVar(&f.role, "role", "", "run, worker or reader: whose permissions are printed or checked (run)")
	c.Flags().StringSliceVar(&f.stages, "stages", nil, "of a worker: only these stages, by name or pipeline/name")
	return c
}

func (a *app) doctor(ctx context.Context, f doctorFlags) error {
	if err := a.checkOutput(); err != nil {
		return err
	}
	if f.role != "" && !slices.Contains(jetstream.Roles(), jetstream.Role(f.role)) {
		return exit(ExitUsage, fmt.Errorf("--role %s: want run, worker or reader", f.role))
	}
	if f.permissions {
		return a.printPermissions(ctx, f)
	}
	s, problems := spec.Load(ctx, a.files, spec.Options{Registry: a.types, Set: a.set, Transport: a.transport, NoAdvice: true})
	d := &examination{app: a, spec: s, flags: f}
	d.file(problems)
	if s != nil {
		d.transport(ctx)
		d.disk()
		d.stages(ctx)
	}
	return d.report()
}

// An examination collects findings.
type examination struct {
	*app
	spec     *spec.Spec
	flags    doctorFlags
	findings []finding
	cut      bool // the transport cannot be used
}

func (d *examination) add(status, check, fix, format string, args ...any) {
	d.findings = append(d.findings, finding{status, check, fmt.Sprintf(format, args...), fix})
}

// report prints the findings and says how the process ends.
func (d *examination) report() error {
	rows := func() (rows [][]string) {
		for _, f := range d.findings {
			rows = append(rows, []string{f.Check, f.Status, f.Text, f.Fix})
		}
		return rows
	}
	var err error
	if d.output == "table" {
		err = printFindings(d.stdout, d.findings)
	} else {
		err = d.show(d.findings, nil, rows)
	}
	failed := slices.ContainsFunc(d.findings, func(f finding) bool { return f.Status == wrong })
	switch {
	case err != nil:
		return err
	case d.cut:
		return exitError{code: ExitUnreachable}
	case d.spec == nil:
		return exitError{code: ExitUsage}
	case failed:
		return exitError{code: ExitFailed}
	}
	return nil
}

func printFindings(w io.Writer, all []finding) error {
	for _, f := range all {
		text := strings.ReplaceAll(f.Text, "\n", "\n"+strings.Repeat(" ", 19))
		if _, err := fmt.Fprintf(w, "%-5s %-12s %s\n", f.Status, f.Check, text); err != nil {
			return err
		}
		if f.Fix != "" {
			if _, err := fmt.Fprintf(w, "%-5s %-12s %s\n", "", "fix", strings.ReplaceAll(f.Fix, "\n", "\n"+strings.Repeat(" ", 19))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *examination) file(problems spec.Problems) {
	name := strings.Join(d.files, ", ")
	if n := problems.Errors(); n > 0 {
		d.add(wrong, "file", "milepost lint", "%s: %s, the first is %v", name, plural(n, "error"), problems.Err())
		return
	}
	d.add(fine, "file", "", "%s: %s", name, plural(len(d.spec.Pipelines), "pipeline"))
}

// transport connects as the role would.
func (d *examination) transport(ctx context.Context) {
	role := jetstream.Role(d.flags.role)
	if role == "" {
		role = jetstream.RoleRun
	}
	d.role = role
	if held, serving := servedBy(d.stateFolder(d.spec)); serving && d.spec.Transport.Embedded != nil {
		d.add(fine, "transport", "", "embedded, in use by process %d, which serves http://%s: milepost status", held.PID, held.Address)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b, err := d.open(ctx, d.spec, quiet())
	if err != nil {
		d.cut = true
		text, fix := adviceIn(err)
		d.add(wrong, "transport", fix, "%s", text)
		if errors.Is(err, transport.ErrDenied) && d.spec.Transport.NATS != nil {
			d.permissions(ctx, role)
		}
		return
	}
	defer b.Close()
	about := b.Describe()
	switch t := d.spec.Transport; {
	case t.NATS != nil:
		d.nats(ctx, b.(*jetstream.Broker), role)
	case t.Kafka != nil:
		d.kafka(ctx, b.(*kafka.Broker), role)
	case t.Embedded != nil:
		d.add(fine, "transport", "", "embedded  server %s  JetStream on, sync %s", about.Version, syncText(t.Embedded.Sync))
	default:
		d.add(fine, "transport", "", "%s", strings.TrimSpace(about.Kind+" "+about.Address+"  "+about.Version))
	}
}

// denied says what the user of a role may not do, and has to.
func (d *examination) denied(role jetstream.Role, what []string) {
	if len(what) == 0 {
		d.add(fine, "permissions", "", "all that role %s needs", role)
		return
	}
	more := ""
	if len(what) > 5 {
		more = fmt.Sprintf(" and %d more", len(what)-5)
		what = what[:5]
	}
	fix := "milepost doctor --permissions --role " + string(role)
	if role == jetstream.RoleWorker && len(d.flags.stages) > 0 {
		fix += " --stages " + strings.Join(d.flags.stages, ",")
	}
	d.add(wrong, "permissions", fix+" prints what the user needs", "role %s may not %s%s", role, strings.Join(what, ", "), more)
}

func syncText(s spec.Sync) string {
	text, err := s.MarshalText()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// adviceIn takes the advice out of an error's text: what stands behind "next: " up to the line's end.
func adviceIn(err error) (text, fix string) {
	text = err.Error()
	before, after, found := strings.Cut(text, "next: ")
	if !found {
		return text, "is the server up, and the address in transport right?"
	}
	fix, rest, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(before) + strings.TrimRight("\n"+strings.TrimSpace(rest), "\n"), fix
}

// disk looks at the state directory, which every run has whatever the transport.
func (d *examination) disk() {
	dir := d.stateFolder(d.spec)
	at := dir
	for _, err := os.Stat(at); errors.Is(err, os.ErrNotExist) && at != filepath.Dir(at); _, err = os.Stat(at) {
		at = filepath.Dir(at)
	}
	if err := unix.Access(at, unix.W_OK); err != nil {
		d.add(wrong, "state", "make it writable, or take another with --state DIR", "%s cannot be written: %v", at, err)
		return
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(at, &fs); err != nil {
		d.add(doubt, "state", "", "%s: %v", at, err)
		return
	}
	const least = 1 << 30
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if free < least {
		d.add(wrong, "state", "free some space, or take another folder with --state DIR", "%s has %s left", dir, bytesText(free))
		return
	}
	d.add(fine, "state", "", "%s, %s free", dir, bytesText(free))
}

// stages builds every stage and sink with its configuration (DBC files, bindings, databases), and lists the readers' items.
func (d *examination) stages(ctx context.Context) {
	built, failed := 0, false
	for _, p := range d.spec.Pipelines {
		for _, st := range p.Stages {
			parts, err := st.Type.Assemble(ctx, st.Config)
			if err != nil {
				failed = true
				text, fix := adviceIn(err)
				if !strings.Contains(err.Error(), "next: ") {
					fix = "milepost stages describe " + st.Uses
				}
				d.add(wrong, "stage", fix, "%s: %s", st.Ref(), text)
				continue
			}
			built++
			if st.Info.Role == pipeline.RoleReader {
				d.items(ctx, st, parts)
			}
		}
	}
	if !failed {
		d.add(fine, "stages", "", "%s built with their configuration", plural(built, "stage"))
	}
}

func (d *examination) items(ctx context.Context, st *spec.Stage, parts pipeline.Parts) {
	if parts.List == nil {
		return
	}
	items, err := parts.List(ctx)
	switch {
	case err != nil:
		text, _ := adviceIn(err)
		d.add(wrong, "recordings", "look at `with:` of "+st.Ref().String(), "%s: %s", st.Ref(), text)
	case len(items) == 0:
		d.add(wrong, "recordings", "put recordings there, or change `paths:` of "+st.Ref().String(), "%s finds none", st.Ref())
	default:
		d.add(fine, "recordings", "", "%s finds %s, the first is %s", st.Ref(), plural(len(items), "recording"), items[0].Name)
	}
}

// printPermissions prints what roles need.
func (a *app) printPermissions(ctx context.Context, f doctorFlags) error {
	s, err := a.loadAlone(ctx)
	if err != nil {
		return err
	}
	var all []any
	var names [][]string
	var text strings.Builder
	for _, r := range jetstream.Roles() {
		if f.role != "" && f.role != string(r) {
			continue
		}
		names = append(names, []string{string(r)})
		if s.Transport.Kafka != nil {
			rights := rightsOf(s, r, f)
			all = append(all, rights)
			text.WriteString(rights.text(s))
			continue
		}
		grant := roleGrant{Role: r, Stages: stagesOf(r, f), Grant: grantOf(s, r, f)}
		all = append(all, grant)
		text.WriteString(grant.text())
	}
	if a.output != "table" {
		return a.show(all, nil, func() [][]string { return names })
	}
	_, err = io.WriteString(a.stdout, text.String())
	return err
}

// roleHeading says which role what follows is for.
func roleHeading(r jetstream.Role, stages []string) string {
	text := "# role " + string(r) + ": " + map[jetstream.Role]string{jetstream.RoleRun: "milepost run", jetstream.RoleWorker: "milepost worker",
		jetstream.RoleReader: "who reads jobs and results, and the source of milepost mirror"}[r]
	if len(stages) > 0 {
		text += " --stages " + strings.Join(stages, ",")
	}
	return text + "\n"
}

// A roleGrant is what a role's user has to be permitted.
type roleGrant struct {
	Role   jetstream.Role `json:"role"`
	Stages []string       `json:"stages,omitempty"`
	jetstream.Grant
}

func stagesOf(r jetstream.Role, f doctorFlags) []string {
	if r == jetstream.RoleWorker {
		return f.stages
	}
	return nil
}

func grantOf(s *spec.Spec, r jetstream.Role, f doctorFlags) jetstream.Grant {
	return jetstream.GrantFor(r, engine.Uses(s, partOf(r, f)))
}

// text is the grant in the words of a server's configuration.
func (r roleGrant) text() string {
	var b strings.Builder
	b.WriteString(roleHeading(r.Role, r.Stages))
	list := func(name string, subjects []string) {
		fmt.Fprintf(&b, "  %s = { allow: [\n", name)
		for _, s := range subjects {
			fmt.Fprintf(&b, "    %q\n", s)
		}
		b.WriteString("  ] }\n")
	}
	fmt.Fprintf(&b, "%s_permissions = {\n", r.Role)
	list("publish", r.Publish)
	list("subscribe", r.Subscribe)
	b.WriteString("}\n")
	return b.String()
}
