package transporttest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/transport"
)

var readCases = []testCase{
	{"reading starts behind a position", readBehind},
	{"a reader sees out events alone", readOutOnly},
	{"a reader waits for more, on a chain that does not exist yet too", readWaits},
	{"a reader that is ready does not wait", readReady},
	{"waiting ends with the context, and the reader goes on afterwards", readCancelled},
	{"attributes and odd names survive", oddNames},
	{"many writers and readers at once", concurrent},
	{"what is longer than a reader's window is read whole", readLong},
	{"the same record reads the same on every process", readElsewhere},
}

func readBehind(b *bundle) {
	want := outs(b.id, 1, 10)
	b.append(b.chain(), want...)
	all := b.written(b.id, want)
	for i := range all {
		for j, s := range b.read(b.log, b.id, all[i].Position, len(all)-i-1) {
			b.same(s, want[i+1+j])
		}
	}
}

func readOutOnly(b *bundle) {
	ch := b.chain()
	b.append(ch, decision(b.id, transport.Control, cursor(1)), out(b.id, 1), decision(b.id, transport.DeadLetter, cursor(2)), page([]byte("p")))
	b.commit(ch, transport.Checkpoint{Cursor: cursor(2)})
	b.append(ch, out(b.id, 2))
	b.written(b.id, outs(b.id, 1, 2))
}

func readWaits(b *bundle) {
	r, err := b.client().Read(b.ctx, b.id, 0)
	b.must(err)
	defer r.Close()
	got := make(chan transport.Stored)
	go func() {
		defer close(got)
		for range 30 {
			s, err := r.Next(b.ctx)
			if err != nil {
				b.Error(err)
				return
			}
			got <- s
		}
	}()
	ch := b.chain()
	for i := range uint64(30) {
		b.append(ch, out(b.id, i+1))
		s, ok := <-got
		if !ok {
			b.FailNow()
		}
		b.same(s, out(b.id, i+1))
	}
}

func readReady(b *bundle) {
	b.append(b.chain(), outs(b.id, 1, 3)...)
	r, err := b.log.Read(b.ctx, b.id, 0)
	b.must(err)
	defer r.Close()
	for i := range uint64(3) {
		for i > 0 && !r.Ready() { // the first has to be fetched; the others are on their way with it
			b.must(b.ctx.Err())
			runtime.Gosched()
		}
		s, err := r.Next(b.ctx)
		b.must(err)
		b.same(s, out(b.id, i+1))
	}
	if r.Ready() {
		b.Fatal("ready at the end")
	}
}

func readCancelled(b *bundle) {
	r, err := b.log.Read(b.ctx, b.id, 0)
	b.must(err)
	defer r.Close()
	ctx, cancel := context.WithCancel(b.ctx)
	errs := make(chan error)
	go func() {
		_, err := r.Next(ctx)
		errs <- err
	}()
	cancel()
	b.want(<-errs, context.Canceled)
	b.append(b.chain(), out(b.id, 1))
	s, err := r.Next(b.ctx)
	b.must(err)
	b.same(s, out(b.id, 1))
}

func oddNames(b *bundle) {
	items := []string{"", "a b", "drive 7 (Köln) 50%.mf4", "日本/東京.mf4", "..", "a\r\nce-id: x", "\x00\xff", "*.>", `"quoted"`}
	for i, item := range items {
		id := b.job(i)
		ch, _ := b.openChain(b.log, id)
		r := out(id, 1)
		r.Event.Item, r.Event.DataRef, r.Event.ContentType, r.Event.Tables = item, "https://x.test/%C3%A4?b=c%20d", "", 0
		b.append(ch, r)
		b.written(id, []transport.Record{r})
	}
	for _, stage := range []string{"aeb@2", "a.b", "a b", "a*b", ">", "a/b", "Größe", "a=2Eb", "A", "a%2Eb", "a_b"} {
		c := b.config
		c.Stage = b.config.Stage + stage
		log, err := b.broker.Log(b.ctx, c)
		b.must(err)
		for _, job := range []schemas.JobID{"j-1", "j.1", "j 1", "*", ">", "ä", "j=2E1", "J-1"} {
			b.oddChain(log, schemas.ChainID{Job: job, Stage: c.Stage})
		}
	}
}

func (b *bundle) oddChain(log transport.Log, id schemas.ChainID) {
	b.Helper()
	ch, s := b.openChain(log, id)
	if s.Out != 0 {
		b.Fatalf("chain %q already holds %d events: two names became one", id, s.Out)
	}
	b.append(ch, out(id, 1), decision(id, transport.Control, cursor(1)))
	b.must(log.Commit(b.ctx, map[transport.Chain]transport.Checkpoint{ch: {Cursor: cursor(1), Out: 1}}))
	for _, got := range b.read(log, id, 0, 1) {
		b.same(got, out(id, 1))
	}
	if _, s := b.openChain(log, id); s.Out != 1 || s.Checkpoint == nil {
		b.Fatalf("chain %q: state %+v", id, s)
	}
}

func concurrent(b *bundle) {
	const jobs, events = 6, 40
	logs := []transport.Log{b.log, b.client()}
	var wg sync.WaitGroup
	for i := range jobs {
		id := b.job(i)
		wg.Go(func() { b.noError(write(b.ctx, logs[0], id, events)) })
		for _, log := range logs {
			wg.Go(func() { b.noError(follow(b.ctx, log, id, events)) })
		}
	}
	wg.Wait()
}

// noError is must for other goroutines than the test's.
func (b *bundle) noError(err error) {
	if err != nil {
		b.Error(err)
	}
}

func write(ctx context.Context, log transport.Log, id schemas.ChainID, n int) error {
	ch, _, err := log.Open(ctx, id)
	if err != nil {
		return err
	}
	for i := range uint64(n) {
		if _, err := ch.Append(ctx, out(id, i+1)); err != nil {
			return err
		}
		if i%10 != 9 {
			continue
		}
		if err := log.Commit(ctx, map[transport.Chain]transport.Checkpoint{ch: {Cursor: cursor(i), Out: i + 1}}); err != nil {
			return err
		}
	}
	return nil
}

func follow(ctx context.Context, log transport.Log, id schemas.ChainID, n int) error {
	r, err := log.Read(ctx, id, 0)
	if err != nil {
		return err
	}
	for i := range uint64(n) {
		s, err := r.Next(ctx)
		if err != nil {
			return errors.Join(err, r.Close())
		}
		if want := out(id, i+1); s.Event.Hash() != want.Event.Hash() {
			return fmt.Errorf("%s: event %d is %+v", id, i+1, s.Event)
		}
	}
	return r.Close()
}

func readLong(b *bundle) {
	const n = 60
	ch := b.chain()
	var want []transport.Record
	for i := range uint64(n) {
		r := out(b.id, i+1)
		r.Event.Data = noise(i, 200<<10)
		want = append(want, r)
	}
	b.append(ch, want...)
	b.written(b.id, want)
}

func readElsewhere(b *bundle) {
	want := outs(b.id, 1, 5)
	b.append(b.chain(), want...)
	here, there := b.read(b.log, b.id, 0, 5), b.read(b.client(), b.id, 0, 5)
	for i := range here {
		b.same(there[i], want[i])
		if here[i].Position != there[i].Position || !here[i].At.Equal(there[i].At) {
			b.Fatalf("event %d: position %d at %s and position %d at %s", i+1, here[i].Position, here[i].At, there[i].Position, there[i].At)
		}
	}
}
