package render

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/milepost-dev/milepost/pipeline/spec"
)

// Compose writes a Compose file: run, a worker for each stage, the files as configs and the secrets as files from where they are.
func Compose(s *spec.Spec, o Options) ([]byte, error) {
	if err := o.prepare(s); err != nil {
		return nil, err
	}
	variables, _ := o.references()
	files := o.secretFiles(s)
	base := func(command []any, more ...m) m {
		mounts := []any{}
		for _, v := range o.Mounts {
			mount := m{kv("type", "bind"), kv("source", v.From), kv("target", v.Path)}
			if v.ReadOnly {
				mount = append(mount, kv("read_only", true))
			}
			mounts = append(mounts, mount)
		}
		for _, v := range more {
			mounts = append(mounts, v)
		}
		var configs, secrets []any
		for _, f := range o.Order {
			configs = append(configs, m{kv("source", secretKey(path.Base(f))), kv("target", workDir+"/"+path.Base(f))})
		}
		for _, f := range files {
			secrets = append(secrets, m{kv("source", secretKey(f)), kv("target", path.Join(workDir, f))})
		}
		service := m{kv("image", o.Image), kv("entrypoint", command[:1]), kv("command", command[1:]), kv("working_dir", workDir), kv("user", fmt.Sprintf("%d:%d", user, user)),
			kv("read_only", true), kv("tmpfs", []any{"/tmp"}), kv("cap_drop", []any{"ALL"}), kv("security_opt", []any{"no-new-privileges:true"}), kv("configs", configs)}
		if secrets != nil {
			service = append(service, kv("secrets", secrets))
		}
		if len(variables) > 0 {
			env := m{}
			for _, v := range slices.Sorted(maps.Keys(variables)) {
				value := "${" + v + ":?}"
				if variables[v] {
					value = "${" + v + ":-}"
				}
				env = append(env, kv(v, value))
			}
			service = append(service, kv("environment", env))
		}
		if len(mounts) > 0 {
			service = append(service, kv("volumes", mounts))
		}
		return service
	}
	run := base(o.command("run", "--exit", "--state", stateDir), m{kv("type", "volume"), kv("source", "state"), kv("target", stateDir)})
	services := m{kv("run", append(run, kv("restart", "no")))}
	for _, u := range Units(s) {
		w := base(o.command("worker", u.Pipeline, "--stages", u.Pipeline+"/"+u.Stage, "--metrics", fmt.Sprintf("127.0.0.1:%d", monitorPort)))
		services = append(services, kv(label(u.Pipeline+"-"+u.Stage), append(w, kv("healthcheck", m{kv("test", []any{"CMD", "/milepost", "health"}), kv("interval", "10s")}), kv("restart", "unless-stopped"), kv("stop_grace_period", "60s"))))
	}
	top := m{kv("name", o.Name), kv("services", services)}
	configs := m{}
	for _, f := range o.Order {
		configs = append(configs, kv(secretKey(path.Base(f)), m{kv("file", f)}))
	}
	top = append(top, kv("configs", configs))
	if len(files) > 0 {
		secrets := m{}
		for _, f := range files {
			secrets = append(secrets, kv(secretKey(f), m{kv("file", f)}))
		}
		top = append(top, kv("secrets", secrets))
	}
	top = append(top, kv("volumes", m{kv("state", m{})}))
	return documents("# Written by milepost render compose from "+strings.Join(o.Order, ", ")+".\n", []m{top})
}
