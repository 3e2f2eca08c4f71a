package view

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// A group lets writers that come at the same time share one transaction, and so one fsync, which is what a commit costs. There
// is no goroutine for it: the first writer leads, and does for those that came meanwhile what each asked for.
type group struct {
	db *sql.DB // one connection

	mu      sync.Mutex
	waiting []*change
	leading bool
}

// A change is what one writer wants to be stored: all of it or nothing.
type change struct {
	ctx  context.Context
	do   func(ctx context.Context, tx *sql.Tx) error
	done chan error // its outcome, once
	lead chan struct{}
}

// maxGroup bounds how many changes wait for each other's work.
const maxGroup = 64

// run stores a change and returns when it is durable. An error of do takes back what it did and nothing else's. do gets a
// context that does not end: SQLite answers the interruption of one statement by rolling back the whole transaction.
func (g *group) run(ctx context.Context, do func(ctx context.Context, tx *sql.Tx) error) error {
	c := &change{ctx: ctx, do: do, done: make(chan error, 1), lead: make(chan struct{}, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	if !g.leading {
		g.leading = true
		c.lead <- struct{}{}
	}
	g.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case <-c.lead:
	}
	g.store(g.next())
	g.handOver()
	return <-c.done
}

// next takes the changes that wait, the leader's own first.
func (g *group) next() []*change {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), maxGroup)
	batch := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return batch
}

// handOver makes the next one that waits the leader.
func (g *group) handOver() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leading = len(g.waiting) > 0; g.leading {
		g.waiting[0].lead <- struct{}{}
	}
}

// store does all changes in one transaction and tells each what became of it.
func (g *group) store(batch []*change) {
	outcomes := make([]error, len(batch))
	err := g.transaction(func(ctx context.Context, tx *sql.Tx) error {
		for i, c := range batch {
			if outcomes[i] = c.ctx.Err(); outcomes[i] != nil {
				continue
			}
			var lost error
			if outcomes[i], lost = step(ctx, tx, c); lost != nil {
				return lost
			}
		}
		return nil
	})
	for i, c := range batch {
		c.done <- errors.Join(outcomes[i], err)
	}
}

func (g *group) transaction(do func(ctx context.Context, tx *sql.Tx) error) error {
	ctx := context.Background()
	tx, err := g.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(ctx, tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// step does one change behind a savepoint. lost says that the transaction is of no more use.
func step(ctx context.Context, tx *sql.Tx, c *change) (err, lost error) {
	if _, lost = tx.ExecContext(ctx, "SAVEPOINT change"); lost != nil {
		return nil, lost
	}
	if err = c.do(ctx, tx); err != nil {
		if _, lost = tx.ExecContext(ctx, "ROLLBACK TO change"); lost != nil {
			return err, lost
		}
	}
	_, lost = tx.ExecContext(ctx, "RELEASE change")
	return err, lost
}
