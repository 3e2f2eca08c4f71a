package spec

import (
	"errors"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

// Transport says where events are kept; exactly one field is set.
type Transport struct {
	Embedded *Embedded `yaml:"embedded" doc:"A NATS server inside this process, its files in a folder."`
	NATS     *NATS     `yaml:"nats" doc:"A NATS cluster with JetStream."`
	Kafka    *Kafka    `yaml:"kafka" doc:"A Kafka cluster."`
	Memory   *Memory   `yaml:"memory" doc:"This process's memory; gone with it."`
}

// Kind is the name of the field that is set: embedded, nats, kafka or memory.
func (t Transport) Kind() string {
	switch {
	case t.Embedded != nil:
		return "embedded"
	case t.NATS != nil:
		return "nats"
	case t.Kafka != nil:
		return "kafka"
	}
	return "memory"
}

// Shared says whether other processes reach the transport too.
func (t Transport) Shared() bool { return t.NATS != nil || t.Kafka != nil }

// Limits are those of the kind that is set.
func (t Transport) Limits() Limits {
	switch {
	case t.Embedded != nil:
		return t.Embedded.Limits
	case t.NATS != nil:
		return t.NATS.Limits
	case t.Kafka != nil:
		return t.Kafka.Limits
	case t.Memory != nil:
		return t.Memory.Limits
	}
	return Limits{}
}

// Embedded is JetStream in this process.
type Embedded struct {
	Dir    string `yaml:"dir" doc:"Folder of the state, kept between runs."`
	Sync   Sync   `yaml:"sync" doc:"When a write is fsynced: always, or at most this long after."`
	Limits Limits `yaml:"limits" doc:"How much is kept."`
}

// NATS is a cluster of nats-servers.
type NATS struct {
	URL      pipeline.Strings `yaml:"url" required:"true" doc:"Addresses, nats://host:port."`
	Creds    string           `yaml:"creds" secret:"true" doc:"Content of a .creds file: \"${file:secrets/nats.creds}\"."`
	NKey     string           `yaml:"nkey" secret:"true" doc:"Seed of a user's nkey, in place of creds: \"${file:secrets/user.nk}\"."`
	User     string           `yaml:"user" doc:"User name, in place of creds."`
	Password string           `yaml:"password" secret:"true" doc:"Password of the user."`
	Token    string           `yaml:"token" secret:"true" doc:"Token, in place of creds."`
	TLS      *TLS             `yaml:"tls" doc:"Certificates; an address tls://host:port uses TLS without this block too."`
	Replicas int              `yaml:"replicas" enum:"1,3,5" doc:"Copies of every log."`
	Limits   Limits           `yaml:"limits" doc:"How much is kept."`
}

// Kafka is a cluster of Kafka brokers.
type Kafka struct {
	Brokers         pipeline.Strings `yaml:"brokers" required:"true" doc:"Addresses, host:port; one string may hold several, by commas."`
	SASL            *SASL            `yaml:"sasl" doc:"How to log in."`
	TLS             *TLS             `yaml:"tls" doc:"Certificates; an empty block uses those of the system."`
	Prefix          string           `yaml:"prefix" doc:"What the names of topics, groups and transactional ids begin with."`
	Replication     int              `yaml:"replication" min:"1" max:"99" doc:"Copies of every topic."`
	Partitions      int              `yaml:"partitions" min:"1" max:"8000" doc:"Partitions of every topic."`
	Retention       time.Duration    `yaml:"retention" doc:"How long an event is kept that nobody has read; 0 is for ever."`
	MaxMessageBytes pipeline.Size    `yaml:"max_message_bytes" doc:"Largest message of every topic; the brokers' message.max.bytes has to allow it."`
	Commit          Commit           `yaml:"commit" doc:"How many steps one transaction covers."`
	Limits          Limits           `yaml:"limits" doc:"How much is kept."`
}

// Commit bounds a transaction of out events. Decisions and checkpoints end it at once.
type Commit struct {
	Events   int           `yaml:"events" min:"1" doc:"Events after which a transaction is committed."`
	Interval time.Duration `yaml:"interval" doc:"The longest a transaction is open: consumers see its events when it is committed."`
}

// Memory is the transport of tests.
type Memory struct {
	Limits Limits `yaml:"limits" doc:"How much is kept."`
}

// Limits bound what a transport keeps.
type Limits struct {
	MaxBytes pipeline.Size `yaml:"max_bytes" doc:"Most that one stage's log holds; 0 is the transport's default."`
}

// LogShare is how much of a log of that limit each recording at work may hold that cannot be trimmed, or is not worth a trim, when so
// many are: half of the log is for all of them, the rest for what is on its way, checkpoints and dead letters. 0 is no limit.
func LogShare(limit int64, active int) int64 { return limit / shares(active) }

func shares(active int) int64 { return int64(2 * max(8, active)) }

// AtWork is how many recordings of a pipeline are started at once, when its first stage has that parallelism: what it can take, and
// as many in the stages behind.
func AtWork(parallelism int) int { return 2 * parallelism }

// TLS names certificates by file, as PEM.
type TLS struct {
	CA         string `yaml:"ca" doc:"File with the authorities that servers are checked against."`
	Cert       string `yaml:"cert" doc:"File with our certificate."`
	Key        string `yaml:"key" doc:"File with our key."`
	ServerName string `yaml:"server_name" doc:"Name to expect in the server's certificate, if not that of the address."`
}

// SASL is one way to log in to Kafka; exactly one field is set.
type SASL struct {
	Plain       *Login  `yaml:"plain" doc:"User and password as they are; only with tls."`
	ScramSHA256 *Login  `yaml:"scram_sha_256" doc:"SCRAM-SHA-256."`
	ScramSHA512 *Login  `yaml:"scram_sha_512" doc:"SCRAM-SHA-512."`
	OAuthBearer *Bearer `yaml:"oauthbearer" doc:"OAUTHBEARER."`
}

// Validate refuses no way and two ways.
func (s *SASL) Validate() error {
	n := 0
	for _, l := range []*Login{s.Plain, s.ScramSHA256, s.ScramSHA512} {
		if l != nil {
			n++
		}
	}
	if s.OAuthBearer != nil {
		n++
	}
	if n != 1 {
		return errors.New("sasl wants one of plain, scram_sha_256, scram_sha_512, oauthbearer")
	}
	if b := s.OAuthBearer; b != nil && (b.Token == "") == (b.TokenURL == "" || b.ClientID == "" || b.ClientSecret == "") {
		return errors.New("oauthbearer wants a token, or token_url, client_id and client_secret")
	}
	return nil
}

// Bearer is a token, or how one is asked for by client credentials.
type Bearer struct {
	Token        string           `yaml:"token" secret:"true" doc:"A token that is valid for as long as the process runs."`
	TokenURL     string           `yaml:"token_url" doc:"Where the authorization server gives tokens for client credentials."`
	ClientID     string           `yaml:"client_id" doc:"Client to ask as."`
	ClientSecret string           `yaml:"client_secret" secret:"true" doc:"Secret of the client."`
	Scopes       pipeline.Strings `yaml:"scopes" doc:"Scopes to ask for."`
}

// Login is a user and a password.
type Login struct {
	User     string `yaml:"user" required:"true" doc:"User name."`
	Password string `yaml:"password" required:"true" secret:"true" doc:"Password of the user."`
}

// Sync is when the embedded server fsyncs; the zero value is always.
type Sync struct{ Interval time.Duration }

// Always says whether every write is fsynced before it counts as stored.
func (s Sync) Always() bool { return s.Interval == 0 }

// UnmarshalText takes `always` or a duration.
func (s *Sync) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		s.Interval = 0
		return nil
	}
	d, err := ParseDuration(string(text))
	if err != nil || d <= 0 {
		return errors.New("want `always` or a duration such as 1s")
	}
	s.Interval = d
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (s Sync) MarshalText() ([]byte, error) {
	if s.Always() {
		return []byte("always"), nil
	}
	return []byte(FormatDuration(s.Interval)), nil
}

// JSONSchema describes what UnmarshalText takes.
func (Sync) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": "^always$|" + durationPattern}
}
