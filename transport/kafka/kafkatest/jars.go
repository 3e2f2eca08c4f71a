package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Version is the release of Apache Kafka that is tested against, unless KAFKA_VERSION names another.
const Version = "4.1.0"

// pom asks Maven for the broker with all that it needs, and for a logger.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>milepost</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%s</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version></dependency>
  </dependencies>
</project>
`

// Jars returns the folder with the broker's jars. They are resolved once and kept in the user's cache; a folder that is
// there is whole, since it is renamed into place.
func Jars(ctx context.Context) (string, error) {
	version := os.Getenv("KAFKA_VERSION")
	if version == "" {
		version = Version
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "milepost", "kafka-"+version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		return "", errors.New("neither Kafka's jars nor Maven are here: apt-get install maven openjdk-17-jre-headless")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "resolving-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, pom, version), 0o644); err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, "mvn", "-q", "-B", "-ntp", "-f", file, "dependency:copy-dependencies", "-DincludeScope=runtime",
		"-DoutputDirectory="+filepath.Join(work, "jars"))
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("resolve Kafka %s with Maven: %w\n%s", version, err, out)
	}
	if err := os.Rename(filepath.Join(work, "jars"), dir); err != nil {
		if _, there := os.Stat(dir); there == nil { // somebody else was faster
			return dir, nil
		}
		return "", err
	}
	return dir, nil
}
