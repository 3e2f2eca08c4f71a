package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/schemas"
)

// A Job is one row of the table of jobs, as the owner of the jobs puts it. Times that have not come yet are nil.
type Job struct {
	Job      schemas.JobID     `json:"job"`
	Pipeline string            `json:"pipeline"`
	Item     string            `json:"item"`
	URL      string            `json:"url,omitempty"`
	Bytes    int64             `json:"bytes,omitempty"` // size of the item, 0 unknown
	Run      string            `json:"run"`
	State    schemas.JobState  `json:"state"`
	Priority int               `json:"priority,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Queued   time.Time         `json:"queued_at"`
	Started  *time.Time        `json:"started_at,omitempty"`
	Ended    *time.Time        `json:"ended_at,omitempty"`
	Resumed  int               `json:"resumed,omitempty"`
	Stage    string            `json:"stage,omitempty"` // of a failed job: where
	Error    string            `json:"error,omitempty"`
	Progress float64           `json:"progress"` // 0 to 1; PutJobs keeps what PutProgress said unless the job is finished
}

// PutJobs stores rows in the place of what was stored of the same jobs. The rows are a fold that can be made again at any
// time, so there is no cursor: the owner of the jobs puts all of them when it starts.
func (s *Store) PutJobs(ctx context.Context, jobs ...Job) error {
	err := s.write.run(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, j := range jobs {
			if err := putJob(ctx, tx, j); err != nil {
				return fmt.Errorf("job %s: %w", j.Job, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store jobs: %w", err)
	}
	s.signal()
	return nil
}

func putJob(ctx context.Context, tx *sql.Tx, j Job) error {
	if j.State == schemas.JobFinished {
		j.Progress = 1
	}
	row, err := json.Marshal(j)
	if err != nil {
		return err
	}
	const query = `INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET pipeline = excluded.pipeline, item = excluded.item,
		run = excluded.run, state = excluded.state, queued_ns = excluded.queued_ns, progress = max(progress, excluded.progress), row = excluded.row`
	_, err = tx.ExecContext(ctx, query, string(j.Job), j.Pipeline, j.Item, j.Run, string(j.State), nanos(j.Queued), j.Progress, string(row))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM labels WHERE job = ?", string(j.Job)); err != nil {
		return err
	}
	for name, value := range j.Labels {
		if _, err := tx.ExecContext(ctx, "INSERT INTO labels VALUES (?, ?, ?)", string(j.Job), name, value); err != nil {
			return err
		}
	}
	return nil
}

// PutProgress says how far jobs are, 0 to 1; it never goes back. Unknown jobs are left out.
func (s *Store) PutProgress(ctx context.Context, progress map[schemas.JobID]float64) error {
	err := s.write.run(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for job, p := range progress {
			_, err := tx.ExecContext(ctx, "UPDATE jobs SET progress = max(progress, ?) WHERE job = ?", max(0, min(p, 1)), string(job))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store progress: %w", err)
	}
	s.signal()
	return nil
}

// A Filter chooses jobs; a zero field is no condition.
type Filter struct {
	Pipeline string
	Run      string
	States   []schemas.JobState
	Search   string            // part of the item's name, whatever case
	Labels   map[string]string // all of them
	Jobs     []schemas.JobID   // these; nil is no condition, an empty list is none
}

// where is the condition over jobs j.
func (f Filter) where() (string, []any) {
	conditions, args := []string{"1"}, []any{}
	add := func(condition string, values ...any) {
		conditions, args = append(conditions, condition), append(args, values...)
	}
	if f.Pipeline != "" {
		add("j.pipeline = ?", f.Pipeline)
	}
	if f.Run != "" {
		add("j.run = ?", f.Run)
	}
	if len(f.States) > 0 {
		states := make([]any, len(f.States))
		for i, s := range f.States {
			states[i] = string(s)
		}
		add("j.state IN (?"+strings.Repeat(", ?", len(states)-1)+")", states...)
	}
	if f.Search != "" {
		add(`lower(j.item) LIKE ? ESCAPE '\'`, "%"+strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(f.Search))+"%")
	}
	for name, value := range f.Labels {
		add("EXISTS (SELECT 1 FROM labels l WHERE l.job = j.job AND l.name = ? AND l.value = ?)", name, value)
	}
	if f.Jobs != nil {
		ids, _ := json.Marshal(f.Jobs) // strings
		add("j.job IN (SELECT value FROM json_each(?))", string(ids))
	}
	return strings.Join(conditions, " AND "), args
}

// A Page is a part of a list.
type Page struct {
	Limit, Offset int // Limit 0 is all
}

func (p Page) limit() string {
	if p.Limit <= 0 {
		p.Limit = -1 // SQLite: no limit
	}
	return fmt.Sprintf(" LIMIT %d OFFSET %d", p.Limit, max(0, p.Offset))
}

// Jobs lists jobs in order of queueing, and says how many there are without the page.
func (s *Store) Jobs(ctx context.Context, f Filter, p Page) (jobs []Job, total int, err error) {
	where, args := f.where()
	if err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM jobs j WHERE "+where, args...).Scan(&total); err != nil {
		return nil, 0, fmt.Errorf("count jobs: %w", err)
	}
	rows, err := s.read.QueryContext(ctx, "SELECT j.row, j.progress FROM jobs j WHERE "+where+" ORDER BY j.queued_ns, j.item, j.job"+p.limit(), args...)
	if err != nil {
		return nil, 0, fmt.Errorf("list jobs: %w", err)
	}
	defer rows.Close()
	jobs = []Job{}
	for rows.Next() {
		var row []byte
		var progress float64
		if err := rows.Scan(&row, &progress); err != nil {
			return nil, 0, fmt.Errorf("list jobs: %w", err)
		}
		var j Job
		if err := json.Unmarshal(row, &j); err != nil {
			return nil, 0, fmt.Errorf("list jobs: %w", err)
		}
		j.Progress = progress
		jobs = append(jobs, j)
	}
	return jobs, total, rows.Err()
}

// Job returns one job, or ErrNotFound.
func (s *Store) Job(ctx context.Context, job schemas.JobID) (Job, error) {
	var row []byte
	var progress float64
	err := s.read.QueryRowContext(ctx, "SELECT row, progress FROM jobs WHERE job = ?", string(job)).Scan(&row, &progress)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	var j Job
	if err == nil {
		err = json.Unmarshal(row, &j)
	}
	if err != nil {
		return Job{}, fmt.Errorf("job %s: %w", job, err)
	}
	j.Progress = progress
	return j, nil
}

// Counts is how many jobs stand in each state; states without a job are left out.
func (s *Store) Counts(ctx context.Context, f Filter) (map[schemas.JobState]int, error) {
	where, args := f.where()
	rows, err := s.read.QueryContext(ctx, "SELECT j.state, count(*) FROM jobs j WHERE "+where+" GROUP BY j.state", args...)
	if err != nil {
		return nil, fmt.Errorf("count jobs by state: %w", err)
	}
	defer rows.Close()
	counts := map[schemas.JobState]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, fmt.Errorf("count jobs by state: %w", err)
		}
		counts[schemas.JobState(state)] = n
	}
	return counts, rows.Err()
}
