package postgres

import (
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Table: "events"}, {DSN: "x", Table: ""}, {DSN: "x", Table: "drop table"}, {DSN: "x", Table: strings.Repeat("a", 51)}} {
		if c.Validate() == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if err := (Config{DSN: "postgres:///x", Table: "aeb_kpi"}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestADatabaseThatIsNotThere is told with the next step, and without the password.
func TestADatabaseThatIsNotThere(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://me:hidden@127.0.0.1:1/results":     "next: is the server up",
		"postgres://me:hidden@127.0.0.1:port/results ": "next: write dsn as postgres://",
	} {
		_, err := Type.Build(t.Context(), Config{DSN: dsn, Table: "events"})
		if err == nil || !strings.Contains(err.Error(), "[E-database]\n  "+want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: error is %v", dsn, err)
		}
	}
}
