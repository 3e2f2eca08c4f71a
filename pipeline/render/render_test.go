package render_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/milepost-dev/milepost/pipeline/render"
	"github.com/milepost-dev/milepost/pipeline/spec"
	"github.com/milepost-dev/milepost/stages"
)

var update = flag.Bool("update", false, "write golden files")

const pipelines = `version: 1
sinks:
  results: { json: { path: "/out/{pipeline}/{item}.json" } }
pipelines:
  aeb-replay:
    stages:
      - { name: read, uses: reader/mf4, parallelism: 4, with: { paths: ["${LOG_DIR:-/drives}/**/*.mf4"], bindings: /drives/signals.yaml } }
      - { name: aeb, uses: process/aeb, durable: false }
      - { name: kpi, uses: analysis/aeb-kpi, parallelism: 2, to: results }
  health:
    from: aeb-replay/read
    stages:
      - { name: check, uses: analysis/signal-health, to: results }
`

var transports = map[string]string{
	"nats":  "transport: { nats: { url: \"${NATS_URL}\", creds: \"${file:secrets/nats.creds}\", tls: { ca: secrets/ca.pem }, replicas: 3 } }\n",
	"kafka": "transport: { kafka: { brokers: [\"kafka-0:9093\", \"kafka-1:9093\"], sasl: { scram_sha_512: { user: milepost, password: \"${file:secrets/kafka}\" } }, tls: { ca: secrets/ca.pem } } }\n",
}

var env = map[string]string{"NATS_URL": "nats://nats-0.nats:4222,nats://nats-1.nats:4333"}

// load is the file with a transport laid over it.
func load(t *testing.T, kind string) (*spec.Spec, render.Options) {
	t.Helper()
	files := map[string]string{"pipelines.yaml": pipelines, "prod.yaml": transports[kind],
		"secrets/nats.creds": "-----BEGIN NATS USER JWT-----\nSECRET\n", "secrets/kafka": "SECRET"}
	s, ps := spec.Load(t.Context(), []string{"pipelines.yaml", "prod.yaml"}, spec.Options{Registry: stages.Standard(), NoAdvice: true,
		Env:      func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile: func(name string) ([]byte, error) { return []byte(files[name]), nil }})
	if s == nil {
		t.Fatal(ps.Err())
	}
	scale := func(u render.Unit) any {
		if kind == "kafka" {
			return render.KafkaTrigger([]string{"kafka-0:9093"}, "group-"+u.Stage, "mp."+u.Pipeline+".job", u.Parallelism)
		}
		return render.NATSTrigger("nats:8222", "$G", "MP_"+u.Pipeline+"_job", u.Stage+"-v", u.Parallelism)
	}
	return s, render.Options{Name: "fleet", Namespace: "ads", Image: "registry.example/milepost:0.1.0", Order: []string{"pipelines.yaml", "prod.yaml"},
		Files: map[string]string{"pipelines.yaml": files["pipelines.yaml"], "prod.yaml": files["prod.yaml"]}, Autoscale: true, Scale: scale,
		Mounts: []render.Mount{{From: "recordings", Path: "/drives", ReadOnly: true}, {From: "results", Path: "/out"}}}
}

func TestGolden(t *testing.T) {
	for kind := range transports {
		for format, write := range map[string]func(*spec.Spec, render.Options) ([]byte, error){"k8s": render.Kubernetes, "compose": render.Compose} {
			s, o := load(t, kind)
			got, err := write(s, o)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(got, []byte("SECRET")) {
				t.Errorf("%s on %s tells a secret", format, kind)
			}
			name := filepath.Join("testdata", format+"-"+kind+".yaml")
			if *update {
				if err := os.WriteFile(name, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; go test ./pipeline/render -update, and look at the difference. Got:\n%s", name, got)
			}
		}
	}
}

// TestPortsThatThePolicyLetsOut: the brokers', that of who gives tokens for them, and those asked for.
func TestPortsThatThePolicyLetsOut(t *testing.T) {
	const block = "transport: { kafka: { brokers: \"kafka-0:9093\", sasl: { oauthbearer: { token_url: \"URL\", client_id: a, client_secret: b } } } }\n"
	for address, want := range map[string][]int32{
		"https://login.example/token": {443, 5432, 9093}, "https://login.example:8443/token": {5432, 8443, 9093}, "http://127.0.0.1/token": {80, 5432, 9093},
	} {
		transports["token"] = strings.ReplaceAll(block, "URL", address)
		s, o := load(t, "token")
		delete(transports, "token")
		o.Autoscale, o.Egress = false, []int{5432}
		text, err := render.Kubernetes(s, o)
		if err != nil {
			t.Fatal(err)
		}
		var got []int32
		for _, data := range objects(t, text) {
			if !bytes.Contains(data, []byte(`"NetworkPolicy"`)) {
				continue
			}
			for _, p := range strictly[networkingv1.NetworkPolicy](t, data).Spec.Egress[1].Ports {
				got = append(got, p.Port.IntVal)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with tokens from %s the ports are %v, want %v", address, got, want)
		}
	}
}

// objects splits manifests into JSON documents.
func objects(t *testing.T, text []byte) (all []json.RawMessage) {
	t.Helper()
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
}

// strictly decodes one, and refuses what its type does not have.
func strictly[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Errorf("%v in %s", err, data)
	}
	return v
}

// A scaledObject is what KEDA 2 takes, as far as we write it.
type scaledObject struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount int `json:"minReplicaCount"`
		MaxReplicaCount int `json:"maxReplicaCount"`
		PollingInterval int `json:"pollingInterval"`
		CooldownPeriod  int `json:"cooldownPeriod"`
		Triggers        []struct {
			Type              string            `json:"type"`
			Metadata          map[string]string `json:"metadata"` // strings only
			AuthenticationRef *struct {
				Name string `json:"name"`
			} `json:"authenticationRef"`
		} `json:"triggers"`
	} `json:"spec"`
}

type triggerAuthentication struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       struct {
		SecretTargetRef []struct{ Parameter, Name, Key string } `json:"secretTargetRef"`
	} `json:"spec"`
}

// A cluster is what the objects say, for the checks of an API server that need more than one of them.
type cluster struct {
	t       *testing.T
	names   map[string]bool // kind/name
	pods    map[string]corev1.PodTemplateSpec
	selects map[string]map[string]string
	scales  []scaledObject
}

func (c *cluster) take(data []byte) {
	var head struct {
		APIVersion, Kind string
		Metadata         struct{ Name, Namespace string }
	}
	if err := json.Unmarshal(data, &head); err != nil {
		c.t.Fatal(err)
	}
	key := head.Kind + "/" + head.Metadata.Name
	if c.names[key] || head.Metadata.Namespace != "ads" || len(head.Metadata.Name) > 63 {
		c.t.Errorf("%s is there twice, has no namespace or too long a name", key)
	}
	c.names[key] = true
	switch head.APIVersion + " " + head.Kind {
	case "v1 ServiceAccount":
		strictly[corev1.ServiceAccount](c.t, data)
	case "v1 ConfigMap":
		strictly[corev1.ConfigMap](c.t, data)
	case "v1 PersistentVolumeClaim":
		strictly[corev1.PersistentVolumeClaim](c.t, data)
	case "batch/v1 Job":
		c.pods[key] = strictly[batchv1.Job](c.t, data).Spec.Template
	case "apps/v1 Deployment":
		d := strictly[appsv1.Deployment](c.t, data)
		c.pods[key], c.selects[key] = d.Spec.Template, d.Spec.Selector.MatchLabels
	case "policy/v1 PodDisruptionBudget":
		c.selects[key] = strictly[policyv1.PodDisruptionBudget](c.t, data).Spec.Selector.MatchLabels
	case "networking.k8s.io/v1 NetworkPolicy":
		c.selects[key] = strictly[networkingv1.NetworkPolicy](c.t, data).Spec.PodSelector.MatchLabels
	case "keda.sh/v1alpha1 ScaledObject":
		c.scales = append(c.scales, strictly[scaledObject](c.t, data))
	case "keda.sh/v1alpha1 TriggerAuthentication":
		strictly[triggerAuthentication](c.t, data)
	default:
		c.t.Errorf("nobody checks %s %s", head.APIVersion, head.Kind)
	}
}

// check is what an API server would refuse, or what would never work.
func (c *cluster) check() {
	for key, want := range c.selects {
		chosen := 0
		for _, p := range c.pods {
			all := true
			for k, v := range want {
				all = all && p.Labels[k] == v
			}
			if all {
				chosen++
			}
		}
		if chosen == 0 || chosen > 1 && !strings.HasPrefix(key, "NetworkPolicy/") {
			c.t.Errorf("%s chooses %d of the pods", key, chosen)
		}
	}
	for key, p := range c.pods {
		volumes := map[string]bool{}
		for _, v := range p.Spec.Volumes {
			volumes[v.Name] = true
			if v.Projected != nil && v.Projected.Sources[0].ConfigMap != nil && !c.names["ConfigMap/"+v.Projected.Sources[0].ConfigMap.Name] {
				c.t.Errorf("%s: volume %s is of no ConfigMap", key, v.Name)
			}
		}
		box := p.Spec.Containers[0]
		for _, m := range box.VolumeMounts {
			if !volumes[m.Name] {
				c.t.Errorf("%s mounts %s, which is no volume", key, m.Name)
			}
		}
		if s := box.SecurityContext; s == nil || !*s.ReadOnlyRootFilesystem || !*p.Spec.SecurityContext.RunAsNonRoot {
			c.t.Errorf("%s may do more than it needs", key)
		}
		if strings.HasPrefix(key, "Deployment/") && (box.LivenessProbe == nil || box.ReadinessProbe == nil || box.StartupProbe == nil || p.Spec.RestartPolicy != "") {
			c.t.Errorf("%s has no probes, or another restart policy", key)
		}
		if !c.names["ServiceAccount/"+p.Spec.ServiceAccountName] {
			c.t.Errorf("%s: no service account %s", key, p.Spec.ServiceAccountName)
		}
	}
	for _, s := range c.scales {
		if !c.names["Deployment/"+s.Spec.ScaleTargetRef.Name] || len(s.Spec.Triggers) != 1 || s.Spec.Triggers[0].Metadata["lagThreshold"] == "" {
			c.t.Errorf("scaled object %+v", s)
		}
		if ref := s.Spec.Triggers[0].AuthenticationRef; ref != nil && !c.names["TriggerAuthentication/"+ref.Name] {
			c.t.Errorf("no trigger authentication %s", ref.Name)
		}
	}
}

func TestManifestsAreValid(t *testing.T) {
	for kind := range transports {
		s, o := load(t, kind)
		text, err := render.Kubernetes(s, o)
		if err != nil {
			t.Fatal(err)
		}
		c := &cluster{t: t, names: map[string]bool{}, pods: map[string]corev1.PodTemplateSpec{}, selects: map[string]map[string]string{}}
		for _, o := range objects(t, text) {
			c.take(o)
		}
		c.check()
		if len(c.pods) != 4 || len(c.scales) != 3 { // run, read, aeb with kpi, check
			t.Errorf("%d pods, %d scaled", len(c.pods), len(c.scales))
		}
	}
}

// TestComposeIsWhole: every service names configs and secrets that are declared, and its files are those of the command line.
func TestComposeIsWhole(t *testing.T) {
	for kind := range transports {
		s, o := load(t, kind)
		text, err := render.Compose(s, o)
		if err != nil {
			t.Fatal(err)
		}
		type ref struct{ Source, Target string }
		top := strictly[struct {
			Name     string
			Services map[string]struct {
				Image, User, Restart string
				WorkingDir           string `json:"working_dir"`
				Entrypoint, Command  []string
				ReadOnly             bool   `json:"read_only"`
				StopGracePeriod      string `json:"stop_grace_period"`
				Healthcheck          *struct {
					Test     []string
					Interval string
				}
				Tmpfs            []string
				CapDrop          []string `json:"cap_drop"`
				SecurityOpt      []string `json:"security_opt"`
				Configs, Secrets []ref
				Environment      map[string]string
				Volumes          []struct {
					Type, Source, Target string
					ReadOnly             bool `json:"read_only"`
				}
			}
			Configs, Secrets map[string]struct{ File string }
			Volumes          map[string]struct{}
		}](t, objects(t, text)[0])
		if len(top.Services) != 4 {
			t.Errorf("services %v", top.Services)
		}
		for name, service := range top.Services {
			for _, c := range service.Configs {
				if _, ok := top.Configs[c.Source]; !ok {
					t.Errorf("%s: no config %s", name, c.Source)
				}
			}
			for _, c := range service.Secrets {
				if _, ok := top.Secrets[c.Source]; !ok {
					t.Errorf("%s: no secret %s", name, c.Source)
				}
			}
			if !slices.Contains(service.Command, "prod.yaml") || len(service.Secrets) == 0 || !service.ReadOnly {
				t.Errorf("%s: %+v", name, service)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	s, o := load(t, "nats")
	for want, change := range map[string]func(*render.Options){
		"--image":              func(o *render.Options) { o.Image = "" },
		"--name":               func(o *render.Options) { o.Name = "Fleet_1" },
		"two files are called": func(o *render.Options) { o.Order = []string{"a/p.yaml", "b/p.yaml"} },
	} {
		c := o
		change(&c)
		if _, err := render.Kubernetes(s, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	inside, ps := spec.Load(t.Context(), []string{"p.yaml"}, spec.Options{Registry: stages.Standard(), NoAdvice: true, Transport: "memory",
		ReadFile: func(string) ([]byte, error) { return []byte(pipelines), nil }})
	if inside == nil {
		t.Fatal(ps.Err())
	}
	if _, err := render.Kubernetes(inside, o); err == nil || !strings.Contains(fmt.Sprint(err), "inside one process") {
		t.Errorf("error is %v", err)
	}
}
