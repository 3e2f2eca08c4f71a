package render

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

// Where things are in a container.
const (
	workDir     = "/etc/milepost" // the files, and secrets beside them
	stateDir    = "/var/lib/milepost"
	monitorPort = 9464  // /metrics, /healthz, /readyz
	user        = 65532 // nobody's; the image has no other
)

// Kubernetes writes the manifests: configuration, a Job that owns the recordings' jobs, a Deployment with a disruption budget for
// each stage, a network policy, and with Autoscale a ScaledObject of KEDA for each stage.
func Kubernetes(s *spec.Spec, o Options) ([]byte, error) {
	if err := o.prepare(s); err != nil {
		return nil, err
	}
	k := &kubernetes{Options: &o, spec: s}
	objects := []m{k.account(), k.config(), k.state(), k.run()}
	for _, u := range Units(s) {
		objects = append(objects, k.worker(u), k.budget(u))
		if o.Autoscale {
			objects = append(objects, k.scaled(u))
		}
	}
	if o.Autoscale && s.Transport.Kafka != nil {
		if a := k.authentication(); a != nil {
			objects = append(objects, a)
		}
	}
	return documents(k.header(), append(objects, k.policy()))
}

type kubernetes struct {
	*Options
	spec *spec.Spec
}

// header says how the secrets are made.
func (k *kubernetes) header() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by milepost render k8s from %s.\n", strings.Join(k.Order, ", "))
	variables, _ := k.references()
	if len(variables) > 0 {
		fmt.Fprintf(&b, "#   kubectl create secret generic %s", k.envSecret())
		for _, v := range slices.Sorted(maps.Keys(variables)) {
			fmt.Fprintf(&b, " --from-literal=%s=…", v)
		}
		b.WriteByte('\n')
	}
	if files := k.secretFiles(k.spec); len(files) > 0 {
		fmt.Fprintf(&b, "#   kubectl create secret generic %s", k.fileSecret())
		for _, f := range files {
			fmt.Fprintf(&b, " --from-file=%s=%s", secretKey(f), f)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (k *kubernetes) envSecret() string  { return k.Name + "-env" }
func (k *kubernetes) fileSecret() string { return k.Name + "-files" }

// secretKey is a file's key in a Secret: its path, which may hold no slash there.
func secretKey(file string) string {
	return strings.Trim(strings.ReplaceAll(path.Clean(file), "/", "_"), "_.")
}

func (k *kubernetes) meta(name, component string) m {
	meta := m{kv("name", name)}
	if k.Namespace != "" {
		meta = append(meta, kv("namespace", k.Namespace))
	}
	return append(meta, kv("labels", k.labels(component)))
}

func (k *kubernetes) labels(component string) m {
	l := m{kv("app.kubernetes.io/name", "milepost"), kv("app.kubernetes.io/instance", k.Name)}
	if component != "" {
		l = append(l, kv("app.kubernetes.io/component", component))
	}
	return l
}

func (k *kubernetes) account() m {
	return m{kv("apiVersion", "v1"), kv("kind", "ServiceAccount"), kv("metadata", k.meta(k.Name, "")), kv("automountServiceAccountToken", false)}
}

func (k *kubernetes) config() m {
	data := m{}
	for _, f := range k.Order {
		data = append(data, kv(path.Base(f), k.Files[f]))
	}
	return m{kv("apiVersion", "v1"), kv("kind", "ConfigMap"), kv("metadata", k.meta(k.Name+"-config", "")), kv("data", data)}
}

func (k *kubernetes) state() m {
	return m{kv("apiVersion", "v1"), kv("kind", "PersistentVolumeClaim"), kv("metadata", k.meta(k.Name+"-state", "run")), kv("spec", m{
		kv("accessModes", []any{"ReadWriteOnce"}),
		kv("resources", m{kv("requests", m{kv("storage", "10Gi")})}),
	})}
}

// run owns the jobs and keeps the results. It is tried again when its node or the broker is lost, and goes on; not when recordings failed,
// nor when its configuration is wrong.
func (k *kubernetes) run() m {
	c := k.container(k.command("run", "--exit", "--state", stateDir)...)
	c = append(c, kv("volumeMounts", append(k.volumeMounts(), m{kv("name", "state"), kv("mountPath", stateDir)})))
	pod := k.pod("run", c, m{kv("name", "state"), kv("persistentVolumeClaim", m{kv("claimName", k.Name+"-state")})})
	pod[1].Value = append(pod[1].Value.(m), kv("restartPolicy", "Never"))
	return m{kv("apiVersion", "batch/v1"), kv("kind", "Job"), kv("metadata", k.meta(k.Name+"-run", "run")), kv("spec", m{
		kv("backoffLimit", 20),
		kv("podFailurePolicy", m{kv("rules", []any{
			m{kv("action", "FailJob"), kv("onExitCodes", m{kv("containerName", "milepost"), kv("operator", "In"), kv("values", []any{1, 2})})},
			m{kv("action", "Ignore"), kv("onPodConditions", []any{m{kv("type", "DisruptionTarget"), kv("status", "True")}})},
		})}),
		kv("template", pod),
	})}
}

func (k *kubernetes) worker(u Unit) m {
	name := u.name(k.Options)
	c := k.container(k.command("worker", u.Pipeline, "--stages", u.Pipeline+"/"+u.Stage, "--metrics", fmt.Sprintf("0.0.0.0:%d", monitorPort))...)
	probe := func(at string, more ...any) m {
		p := m{kv("httpGet", m{kv("path", at), kv("port", "metrics")})}
		for i := 0; i < len(more); i += 2 {
			p = append(p, kv(more[i].(string), more[i+1]))
		}
		return p
	}
	c = append(c,
		kv("ports", []any{m{kv("name", "metrics"), kv("containerPort", monitorPort)}}),
		kv("startupProbe", probe("/healthz", "periodSeconds", 2, "failureThreshold", 150)),
		kv("livenessProbe", probe("/healthz", "periodSeconds", 20, "timeoutSeconds", 5, "failureThreshold", 3)),
		kv("readinessProbe", probe("/readyz", "periodSeconds", 5)),
		kv("volumeMounts", k.volumeMounts()))
	d := m{kv("selector", m{kv("matchLabels", k.labels(name))}), kv("template", k.pod(name, c))}
	if !k.Autoscale { // else the replicas are the scaler's
		d = append(m{kv("replicas", 1)}, d...)
	}
	return m{kv("apiVersion", "apps/v1"), kv("kind", "Deployment"), kv("metadata", k.meta(name, name)), kv("spec", d)}
}

func (k *kubernetes) container(command ...any) m {
	c := m{kv("name", "milepost"), kv("image", k.Image), kv("command", command[:1]), kv("args", command[1:]), kv("workingDir", workDir),
		kv("resources", m{kv("requests", m{kv("cpu", "250m"), kv("memory", "256Mi")}), kv("limits", m{kv("memory", "512Mi")})}),
		kv("securityContext", m{kv("allowPrivilegeEscalation", false), kv("readOnlyRootFilesystem", true), kv("capabilities", m{kv("drop", []any{"ALL"})})})}
	variables, _ := k.references()
	var env []any
	for _, v := range slices.Sorted(maps.Keys(variables)) {
		ref := m{kv("name", k.envSecret()), kv("key", v)}
		if variables[v] {
			ref = append(ref, kv("optional", true))
		}
		env = append(env, m{kv("name", v), kv("valueFrom", m{kv("secretKeyRef", ref)})})
	}
	if env != nil {
		c = append(c, kv("env", env))
	}
	return c
}

func (k *kubernetes) volumeMounts() []any {
	mounts := []any{m{kv("name", "config"), kv("mountPath", workDir), kv("readOnly", true)}, m{kv("name", "tmp"), kv("mountPath", "/tmp")}}
	for i, v := range k.Mounts {
		mount := m{kv("name", "mount-"+strconv.Itoa(i)), kv("mountPath", v.Path)}
		if v.ReadOnly {
			mount = append(mount, kv("readOnly", true))
		}
		mounts = append(mounts, mount)
	}
	return mounts
}

// pod is a template; secrets lie beside the files that name them, so that paths are the same as elsewhere.
func (k *kubernetes) pod(component string, container m, volumes ...m) m {
	sources := []any{m{kv("configMap", m{kv("name", k.Name+"-config")})}}
	if files := k.secretFiles(k.spec); len(files) > 0 {
		var items []any
		for _, f := range files {
			items = append(items, m{kv("key", secretKey(f)), kv("path", strings.TrimPrefix(path.Clean("/"+f), "/"))})
		}
		sources = append(sources, m{kv("secret", m{kv("name", k.fileSecret()), kv("items", items)})})
	}
	list := []any{m{kv("name", "config"), kv("projected", m{kv("sources", sources)})}, m{kv("name", "tmp"), kv("emptyDir", m{})}}
	for i, v := range k.Mounts {
		claim := m{kv("claimName", v.From)}
		if v.ReadOnly {
			claim = append(claim, kv("readOnly", true))
		}
		list = append(list, m{kv("name", "mount-"+strconv.Itoa(i)), kv("persistentVolumeClaim", claim)})
	}
	for _, v := range volumes {
		list = append(list, v)
	}
	return m{kv("metadata", m{kv("labels", k.labels(component))}), kv("spec", m{
		kv("serviceAccountName", k.Name), kv("automountServiceAccountToken", false), kv("terminationGracePeriodSeconds", 60),
		kv("securityContext", m{kv("runAsNonRoot", true), kv("runAsUser", user), kv("runAsGroup", user), kv("fsGroup", user), kv("seccompProfile", m{kv("type", "RuntimeDefault")})}),
		kv("containers", []any{container}), kv("volumes", list)})}
}

// budget lets one worker of a stage be evicted at a time: its jobs go to another one.
func (k *kubernetes) budget(u Unit) m {
	name := u.name(k.Options)
	return m{kv("apiVersion", "policy/v1"), kv("kind", "PodDisruptionBudget"), kv("metadata", k.meta(name, name)), kv("spec", m{
		kv("maxUnavailable", 1), kv("selector", m{kv("matchLabels", k.labels(name))})})}
}

// policy lets nothing in but probes and who collects metrics, and nothing out but to the broker, to who gives tokens for it, to the
// ports of Egress and to where names are looked up.
func (k *kubernetes) policy() m {
	ports := []any{}
	for _, p := range k.reached() {
		ports = append(ports, m{kv("protocol", "TCP"), kv("port", p)})
	}
	return m{kv("apiVersion", "networking.k8s.io/v1"), kv("kind", "NetworkPolicy"), kv("metadata", k.meta(k.Name, "")), kv("spec", m{
		kv("podSelector", m{kv("matchLabels", k.labels(""))}),
		kv("policyTypes", []any{"Ingress", "Egress"}),
		kv("ingress", []any{m{kv("ports", []any{m{kv("protocol", "TCP"), kv("port", monitorPort)}})}}),
		kv("egress", []any{
			m{kv("ports", []any{m{kv("protocol", "UDP"), kv("port", 53)}, m{kv("protocol", "TCP"), kv("port", 53)}})},
			m{kv("ports", ports)},
		})})}
}

// reached are the ports that the containers reach beside that of names.
func (k *kubernetes) reached() []int {
	ports := append(brokerPorts(k.spec), k.Egress...)
	if t := k.spec.Transport.Kafka; t != nil && t.SASL != nil && t.SASL.OAuthBearer != nil && t.SASL.OAuthBearer.TokenURL != "" {
		ports = append(ports, tokenPort(t.SASL.OAuthBearer.TokenURL))
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

func tokenPort(address string) int {
	if port, err := strconv.Atoi(portOf(address)); err == nil {
		return port
	}
	if strings.HasPrefix(address, "http://") {
		return 80
	}
	return 443
}

// brokerPorts are those of the transport's addresses.
func brokerPorts(s *spec.Spec) (ports []int) {
	usual, addresses := 4222, []string(nil)
	if s.Transport.Kafka != nil {
		usual, addresses = 9092, s.Transport.Kafka.Brokers
	} else {
		addresses = s.Transport.NATS.URL
	}
	for _, a := range addresses {
		port := usual
		if p, err := strconv.Atoi(portOf(a)); err == nil {
			port = p
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

func portOf(address string) string {
	if strings.Contains(address, "://") {
		if u, err := url.Parse(address); err == nil {
			return u.Port()
		}
		return ""
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}
