// Command kafka is the entry of the Kafka image that e2e/containers/images builds. It takes its settings as the Apache project's
// own image does, so that either can be named: KAFKA_NODE_ID is node.id of server.properties, and so on.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

const (
	dir        = "/tmp/kafka"
	properties = dir + "/server.properties"
	clusterID  = "4L6g3nShT-eMCtK--X86sw" // that of the Apache image, where CLUSTER_ID names none
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(properties, []byte(settings(os.Environ())), 0o644); err != nil {
		return err
	}
	id := os.Getenv("CLUSTER_ID")
	if id == "" {
		id = clusterID
	}
	java := os.Getenv("JAVA")
	format := exec.Command(java, "-cp", "/kafka/*", "kafka.tools.StorageTool", "format", "--ignore-formatted", "--cluster-id="+id, "-c", properties)
	if out, err := format.CombinedOutput(); err != nil {
		return fmt.Errorf("format the storage: %w\n%s", err, out)
	}
	return syscall.Exec(java, []string{java, "-Xmx512m", "-XX:+UseSerialGC", "-cp", "/kafka/*", "kafka.Kafka", properties}, os.Environ())
}

// settings makes properties of the variables.
func settings(environment []string) string {
	lines := []string{"log.dirs=" + dir + "/log"}
	for _, e := range environment {
		name, value, _ := strings.Cut(e, "=")
		key, ok := strings.CutPrefix(name, "KAFKA_")
		if !ok {
			continue
		}
		key = strings.NewReplacer("___", "-", "__", "_", "_", ".").Replace(strings.ToLower(key))
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+"=") })
		lines = append(lines, key+"="+value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
