package transporttest

import (
	"errors"

	"github.com/milepost-dev/milepost/transport"
)

var limitCases = []testCase{
	{"an event of the size that the broker names is taken", largestEvent},
	{"an event that is too large is refused and the chain goes on", tooLarge},
	{"a broker describes itself", describe},
	{"making a log again is harmless", logAgain},
}

var fullCases = []testCase{
	{"statistics follow what is stored", stats},
	{"a full log takes no out event but still decisions", full},
	{"a log that is widened takes more", widened},
}

func largestEvent(b *bundle) {
	r := out(b.id, 1)
	r.Event.Data = noise(1, b.broker.Describe().MaxEvent)
	b.append(b.chain(), r)
	b.written(b.id, []transport.Record{r})
	b.behind(b.state(), r)
	if !b.f.Watch {
		return
	}
	w := b.watched(transport.WatchConfig{Kinds: []transport.Kind{transport.Out}})
	b.same(w[0], r)
}

func tooLarge(b *bundle) {
	ch := b.chain()
	big := out(b.id, 2)
	big.Event.Data = make([]byte, 3*b.broker.Describe().MaxEvent)
	n, err := ch.Append(b.ctx, out(b.id, 1), big, out(b.id, 3))
	b.want(err, transport.ErrTooLarge)
	if n != 1 {
		b.Fatalf("%d records stored before the large one, want 1", n)
	}
	b.append(ch, out(b.id, 2))
	b.written(b.id, outs(b.id, 1, 2))
}

func describe(b *bundle) {
	d := b.broker.Describe()
	if d.Kind == "" || d.MaxEvent < 512<<10 {
		b.Fatalf("description is %+v", d)
	}
}

func logAgain(b *bundle) {
	ch := b.chain()
	b.append(ch, out(b.id, 1))
	again := b.on(b.broker)
	_, s := b.openChain(again, b.id)
	b.behind(s, out(b.id, 1))
	b.append(ch, out(b.id, 2))
	if _, err := b.broker.Log(b.ctx, transport.LogConfig{}); err == nil {
		b.Fatal("a log without a name was made")
	}
}

func stats(b *bundle) {
	before, err := b.log.Stats(b.ctx)
	b.must(err)
	r := out(b.id, 1)
	r.Event.Data = noise(1, 10_000)
	b.append(b.chain(), r, out(b.id, 2))
	after, err := b.log.Stats(b.ctx)
	b.must(err)
	if after.Records-before.Records != 2 || after.Bytes-before.Bytes < 10_000 || after.Bytes-before.Bytes > 20_000 {
		b.Fatalf("two records of 10 kB made %+v out of %+v", after, before)
	}
}

const maxBytes = 2 << 20

func full(b *bundle) {
	b.use(transport.LogConfig{Pipeline: "suite", Stage: b.config.Stage + "-full", MaxBytes: maxBytes, Reserve: maxBytes / 2})
	ch := b.chain()
	stored := b.fill(ch)
	if got := stored * eventBytes; got > maxBytes/2 || got < maxBytes/4 {
		b.Fatalf("%d bytes of out events fit a log of %d with half in reserve", got, maxBytes)
	}
	// The chain is not lost: decisions and checkpoints find room in the reserve, and out events once there is some.
	letter := decision(b.id, transport.DeadLetter, cursor(1))
	letter.Event.Data = noise(1, eventBytes)
	b.append(ch, letter, decision(b.id, transport.Control, cursor(2)))
	b.commit(ch, transport.Checkpoint{Cursor: cursor(1), Out: uint64(stored), Snapshot: noise(2, eventBytes)})
	if _, err := ch.Append(b.ctx, bigOut(b, uint64(stored+1))); !errors.Is(err, transport.ErrFull) {
		b.Fatalf("an out event found room in the reserve: %v", err)
	}
	s := b.state()
	if s.Out != uint64(stored) || s.Checkpoint == nil {
		b.Fatalf("state is %+v", s)
	}
	all := b.read(b.log, b.id, 0, stored)
	b.must(b.log.Trim(b.ctx, b.id, all[stored-1].Position))
	b.append(ch, bigOut(b, uint64(stored+1)))
}

const eventBytes = 100_000

func bigOut(b *bundle, sequence uint64) transport.Record {
	r := out(b.id, sequence)
	r.Event.Data = noise(sequence, eventBytes)
	return r
}

// fill appends out events until the log is full and returns how many it took.
func (b *bundle) fill(ch transport.Chain) int {
	b.Helper()
	for i := range uint64(100) {
		n, err := ch.Append(b.ctx, bigOut(b, i+1))
		if err == nil {
			continue
		}
		b.want(err, transport.ErrFull)
		if n != 0 {
			b.Fatalf("a full log says that it stored %d", n)
		}
		return int(i)
	}
	b.Fatal("the log never fills up")
	return 0
}

func widened(b *bundle) {
	b.use(transport.LogConfig{Pipeline: "suite", Stage: b.config.Stage + "-wide", MaxBytes: maxBytes, Reserve: maxBytes / 2})
	ch := b.chain()
	stored := b.fill(ch)
	b.config.MaxBytes *= 2
	wide := b.on(b.broker)
	ch, _ = b.openChain(wide, b.id)
	b.append(ch, bigOut(b, uint64(stored+1)))
	b.config.MaxBytes /= 4
	narrow := b.on(b.broker)
	ch, _ = b.openChain(narrow, b.id)
	b.append(ch, bigOut(b, uint64(stored+2))) // a log is never made narrower
}
