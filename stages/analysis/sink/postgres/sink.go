// Package postgres stores documents, and signals if asked to, in tables of a PostgreSQL database.
//
// How is said in package tables: rows and cursor go in one transaction, and several processes may share the database. Tables, by
// the default name:
//
//	events          a row a document, keyed (job, stage, sequence, row)
//	events_batches  a row a table of a batch: how many rows, over which stretch
//	events_signals  with `tables: true`, a row a value
//	events_fleet    the fleet results of each run, keyed (run, pipeline, stage, type)
//	events_cursors  how far each (job, stage) is stored
//	events_versions the jobs that have rows of a (pipeline, item, stage), by the order in which they began
//
// A query sees each result once: the commit that makes a newer job's whole takes the older job's rows away. While a newer job is
// at work its rows stand beside the older ones, told apart by job; the first in events_versions is the one that was there.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/milepost-dev/milepost/pipeline"
	"github.com/milepost-dev/milepost/stages/analysis/sink/internal/tables"
)

// Config is the sink's `with:` block.
type Config struct {
	DSN    string `yaml:"dsn" required:"true" secret:"true" doc:"The database: postgres://user:password@host:5432/name?sslmode=verify-full, or words as psql takes them."`
	Table  string `yaml:"table" doc:"Table of the documents, and what the names of the others begin with."`
	Tables bool   `yaml:"tables" doc:"Store each value of each signal too; about 100 bytes a value."`
}

// Type is what a registry lists as sink/postgres.
var Type = pipeline.SinkType[Config]{
	Name: "sink/postgres", Summary: "all documents in tables of a PostgreSQL database", Version: "1",
	Accepts: []string{pipeline.Any}, Default: Config{Table: "events"},
	Build: open,
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,49}$`) // so that none has to be quoted, nor is cut off

// StoredIn is where rows go, for lint.
func (c Config) StoredIn() (field, place string) { return "dsn", c.DSN + " " + c.Table }

// Validate refuses a missing database and a name that would have to be quoted.
func (c Config) Validate() error {
	switch {
	case c.DSN == "":
		return pipeline.FieldErrorf("dsn", "names no database")
	case !plainName.MatchString(c.Table):
		return pipeline.FieldErrorf("table", "want small letters, digits and _, at most 50")
	}
	return nil
}

// connections is what a process has open at most; databases have few.
const connections = 4

// schema makes the tables. The documents' text stays as it is, byte for byte (json, not jsonb); times are kept to the microsecond.
func schema(n tables.Names) string {
	return strings.NewReplacer("CURSORS", n.Cursors, "VERSIONS", n.Versions, "EVENTS", n.Events, "BATCHES", n.Batches, "SIGNALS", n.Signals, "FLEET", n.Fleet).Replace(`
CREATE TABLE IF NOT EXISTS CURSORS (job text, stage text, cursor text NOT NULL, PRIMARY KEY (job, stage));
CREATE TABLE IF NOT EXISTS VERSIONS (pipeline text, item text, stage text, began bigint, job text, PRIMARY KEY (pipeline, item, stage, began));
CREATE TABLE IF NOT EXISTS EVENTS (
	job text, stage text, sequence bigint, row integer, pipeline text, item text, type text, time timestamptz, doc json,
	PRIMARY KEY (job, stage, sequence, row));
CREATE INDEX IF NOT EXISTS EVENTS_type ON EVENTS (type, item);
CREATE TABLE IF NOT EXISTS BATCHES (
	job text, stage text, sequence bigint, name text, pipeline text, item text, type text, start timestamptz, from_ns bigint, to_ns bigint,
	rows integer, PRIMARY KEY (job, stage, sequence, name));
CREATE TABLE IF NOT EXISTS SIGNALS (
	job text, stage text, sequence bigint, name text, signal text, row integer, t_ns bigint, value double precision,
	PRIMARY KEY (job, stage, sequence, name, signal, row));
CREATE TABLE IF NOT EXISTS FLEET (run text, pipeline text, stage text, type text, doc json NOT NULL, PRIMARY KEY (run, pipeline, stage, type));
`)
}

func namesOf(table string) tables.Names {
	return tables.Names{Cursors: table + "_cursors", Versions: table + "_versions", Events: table, Batches: table + "_batches", Signals: table + "_signals", Fleet: table + "_fleet"}
}

// open connects, and makes the tables if they are not there.
func open(ctx context.Context, c Config) (pipeline.Sink, error) {
	db, err := sql.Open("pgx", c.DSN)
	if err != nil {
		return nil, openError(err)
	}
	db.SetMaxOpenConns(connections)
	n := namesOf(c.Table)
	if err := prepare(ctx, db, n); err != nil {
		return nil, errors.Join(openError(err), db.Close())
	}
	return tables.Sink(tables.Database{DB: db, Names: n, Values: c.Tables, Argument: "$",
		Lock: "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", Signal: signals(n.Signals)}), nil
}

// prepare makes the tables. Who finds all of them there needs no right to make any; those who do not, make them in turn.
func prepare(ctx context.Context, db *sql.DB, n tables.Names) error {
	var there int
	err := db.QueryRowContext(ctx, "SELECT count(to_regclass(name)) FROM unnest($1::text[]) AS name", []string{n.Cursors, n.Versions, n.Events, n.Batches, n.Signals, n.Fleet}).Scan(&there)
	if err != nil || there == 6 {
		return err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(n.Events))
	_, err = db.ExecContext(ctx, fmt.Sprintf("SELECT pg_advisory_xact_lock(%d);", int64(h.Sum64()))+schema(n)) // one transaction
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) && e.Code == notPermitted {
		return fmt.Errorf("%w [E-database]\n  next: grant CREATE on the schema to the user, or have the tables made, and SELECT, INSERT, UPDATE, DELETE on them granted:\n%s", err, schema(n))
	}
	return err
}

// signals stores one signal's values in one statement.
func signals(table string) func(context.Context, *sql.Tx, tables.Signal) error {
	query := "INSERT INTO " + table + ` SELECT $1::text, $2::text, $3::bigint, $4::text, $5::text, n - 1, t, v
		FROM unnest($6::bigint[], $7::double precision[]) WITH ORDINALITY AS u(t, v, n)`
	return func(ctx context.Context, tx *sql.Tx, s tables.Signal) error {
		_, err := tx.ExecContext(ctx, query, s.Job, s.Stage, s.Sequence, s.Table, s.Name, s.Times, s.Values)
		return err
	}
}

// Answers of the server (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	wrongPassword = "28P01"
	notLetIn      = "28000"
	noDatabase    = "3D000"
	notPermitted  = "42501"
	tooMany       = "53300"
)

// openError says what is wrong with a database, and what helps. It never tells the password: pgx leaves it out.
func openError(err error) error {
	if strings.Contains(err.Error(), "\n  next: ") {
		return fmt.Errorf("open the database: %w", err)
	}
	next := "is the server up, and the address in dsn right?  psql takes the same dsn"
	var e *pgconn.PgError
	var parse *pgconn.ParseConfigError
	switch {
	case errors.As(err, &parse):
		next = "write dsn as postgres://user:password@host:5432/name; special characters of a password as %XX"
	case errors.As(err, &e):
		switch e.Code {
		case wrongPassword, notLetIn:
			next = "is the user in dsn one of the server, with this password, and let in by its pg_hba.conf?"
		case noDatabase:
			next = "make it: createdb, or name another one in dsn"
		case tooMany:
			next = fmt.Sprintf("raise max_connections of the server: each process takes up to %d", connections)
		case notPermitted:
			next = "grant SELECT, INSERT, UPDATE and DELETE on the tables to the user"
		}
	}
	return fmt.Errorf("open the database: %w [E-database]\n  next: %s", err, next)
}
