// Package render writes manifests for a pipelines file: Kubernetes and Compose. Its functions are pure: what they need beside the
// Spec is in Options, and no cluster is asked.
//
// The owner of the jobs (`milepost run`) is a Job, since it ends when all recordings are done; each stage is a Deployment of
// `milepost worker`. Secrets are named and never written: whoever applies the manifests makes them.
package render

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

// Options are what manifests need beside the Spec.
type Options struct {
	Name      string            // of everything; "" is milepost
	Namespace string            // "" leaves it out
	Image     string            // of the containers
	Files     map[string]string // the pipelines files by name, as they are: variables are resolved in the containers
	Order     []string          // of Files
	Mounts    []Mount
	Autoscale bool           // with KEDA
	MaxScale  int            // most workers of a stage; 0 is 10
	Egress    []int          // more ports that the containers may reach: a result database's, say
	Scale     func(Unit) any // trigger of a unit, made by NATSTrigger or KafkaTrigger; needed with Autoscale
}

// A Mount is a claim (Kubernetes) or folder (Compose) at a path in every container.
type Mount struct {
	From, Path string
	ReadOnly   bool
}

// A Unit is what runs in one process: a stage, with those chained to it and its sinks.
type Unit struct {
	Pipeline, Stage string
	Parallelism     int
}

// name is the unit's, as names of objects can be: RFC 1123, at most 63 characters with what goes before and behind it.
func (u Unit) name(o *Options) string { return label(o.Name + "-" + u.Pipeline + "-" + u.Stage) }

var notLabel = regexp.MustCompile(`[^a-z0-9-]+`)

func label(s string) string {
	s = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(s), "-"), "-")
	const most = 52 // a controller adds to it
	if len(s) > most {
		s = strings.Trim(s[:most], "-")
	}
	return s
}

// Units lists them in order of pipelines and stages.
func Units(s *spec.Spec) (all []Unit) {
	for _, p := range s.Pipelines {
		for _, st := range p.Stages {
			if !st.Chained {
				all = append(all, Unit{p.Name, st.Name, max(st.Settings.Parallelism, 1)})
			}
		}
	}
	return all
}

var variable = regexp.MustCompile(`\$\$|\$\{(file:)?([^}:]+)(:-)?[^}]*\}`)

// references lists the variables and files that the pipelines files name, in order of name. A variable with a default may be missing.
func (o *Options) references() (variables map[string]bool, files []string) {
	variables = map[string]bool{}
	for _, text := range o.Files {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, m := range variable.FindAllStringSubmatch(line, -1) {
				switch {
				case m[2] == "":
				case m[1] != "":
					if !slices.Contains(files, m[2]) {
						files = append(files, m[2])
					}
				default:
					optional, known := variables[m[2]]
					variables[m[2]] = m[3] != "" && (optional || !known)
				}
			}
		}
	}
	slices.Sort(files)
	return variables, files
}

// prepare fills in what is missing and refuses what cannot be rendered.
func (o *Options) prepare(s *spec.Spec) error {
	o.Name = cmp.Or(o.Name, "milepost")
	o.MaxScale = cmp.Or(o.MaxScale, 10)
	switch {
	case label(o.Name) != o.Name:
		return fmt.Errorf("--name %s: want lower-case letters, digits and dashes", o.Name)
	case o.Image == "":
		return errors.New("--image: which image holds milepost?")
	case !s.Transport.Shared():
		return fmt.Errorf("transport %s is inside one process: name a nats or kafka transport that the containers reach", s.Transport.Kind())
	}
	names := map[string]bool{}
	for _, u := range Units(s) {
		if n := u.name(o); names[n] {
			return fmt.Errorf("two stages would both be called %s: shorten --name or the pipelines' names", n)
		}
		names[u.name(o)] = true
	}
	bases := map[string]bool{}
	for _, f := range o.Order {
		if bases[path.Base(f)] {
			return fmt.Errorf("two files are called %s: rename one", path.Base(f))
		}
		bases[path.Base(f)] = true
	}
	return nil
}

// secretFiles are those that the transport names by path and that ${file:…} names.
func (o *Options) secretFiles(s *spec.Spec) []string {
	_, files := o.references()
	tls := (*spec.TLS)(nil)
	switch t := s.Transport; {
	case t.NATS != nil:
		tls = t.NATS.TLS
	case t.Kafka != nil:
		tls = t.Kafka.TLS
	}
	if tls != nil {
		for _, f := range []string{tls.CA, tls.Cert, tls.Key} {
			if f != "" && !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	slices.Sort(files)
	return files
}

// command is a container's, the files in their order.
func (o *Options) command(args ...string) []any {
	list := []any{"/milepost"}
	for _, a := range args {
		list = append(list, a)
	}
	for _, f := range o.Order {
		list = append(list, "-f", path.Base(f))
	}
	return list
}

// m is a mapping whose keys stay in order.
type m = yaml.MapSlice

func kv(key string, value any) yaml.MapItem { return yaml.MapItem{Key: key, Value: value} }

// documents writes objects one after another.
func documents(header string, objects []m) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(header)
	for i, o := range objects {
		if i > 0 {
			b.WriteString("---\n")
		}
		text, err := yaml.MarshalWithOptions(o, yaml.Indent(2), yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	return b.Bytes(), nil
}
