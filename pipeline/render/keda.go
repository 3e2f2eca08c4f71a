package render

import (
	"strconv"
	"strings"
)

// scaled has KEDA start workers of a stage by the jobs that wait for it (keda.sh/v1alpha1).
func (k *kubernetes) scaled(u Unit) m {
	name := u.name(k.Options)
	trigger := k.Scale(u).(m)
	if k.spec.Transport.Kafka != nil && k.authentication() != nil {
		trigger = append(trigger, kv("authenticationRef", m{kv("name", k.Name+"-broker")}))
	}
	return m{kv("apiVersion", "keda.sh/v1alpha1"), kv("kind", "ScaledObject"), kv("metadata", k.meta(name, name)), kv("spec", m{
		kv("scaleTargetRef", m{kv("name", name)}),
		kv("minReplicaCount", 0), kv("maxReplicaCount", k.MaxScale), kv("pollingInterval", 5), kv("cooldownPeriod", 120),
		kv("triggers", []any{trigger})})}
}

// NATSTrigger is KEDA's nats-jetstream scaler: jobs of a durable consumer that wait or are in work, as many as a worker takes at once.
// The monitoring endpoint is host:port of a server's http_port.
func NATSTrigger(monitoring, account, stream, consumer string, parallelism int) any {
	return m{kv("type", "nats-jetstream"), kv("metadata", m{
		kv("natsServerMonitoringEndpoint", monitoring), kv("account", account), kv("stream", stream), kv("consumer", consumer),
		kv("lagThreshold", strconv.Itoa(parallelism))})}
}

// KafkaTrigger is KEDA's kafka scaler: the lag of a consumer group over the topic of jobs.
func KafkaTrigger(brokers []string, group, topic string, parallelism int) any {
	return m{kv("type", "kafka"), kv("metadata", m{
		kv("bootstrapServers", strings.Join(brokers, ",")), kv("consumerGroup", group), kv("topic", topic),
		kv("lagThreshold", strconv.Itoa(parallelism)), kv("offsetResetPolicy", "earliest")})}
}

// authentication is how KEDA logs in to Kafka: by keys of the Secret <name>-keda; nil where nothing is asked for.
func (k *kubernetes) authentication() m {
	t := k.spec.Transport.Kafka
	var keys []string
	if s := t.SASL; s != nil {
		keys = append(keys, "sasl")
		if s.OAuthBearer == nil {
			keys = append(keys, "username", "password")
		} else {
			keys = append(keys, "username", "password", "oauthTokenEndpointUri", "scopes")
		}
	}
	if t.TLS != nil {
		keys = append(keys, "tls")
		if t.TLS.CA != "" {
			keys = append(keys, "ca")
		}
		if t.TLS.Cert != "" {
			keys = append(keys, "cert", "key")
		}
	}
	if keys == nil {
		return nil
	}
	var refs []any
	for _, key := range keys {
		refs = append(refs, m{kv("parameter", key), kv("name", k.Name+"-keda"), kv("key", key)})
	}
	return m{kv("apiVersion", "keda.sh/v1alpha1"), kv("kind", "TriggerAuthentication"), kv("metadata", k.meta(k.Name+"-broker", "")),
		kv("spec", m{kv("secretTargetRef", refs)})}
}
