package mf4

import (
	"context"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// A sharedRead is one pass over several groups that have their records in the same data, as loggers leave them: reading each
// by itself would read the data once each. The groups are sources of their own, since each has a clock of its own; whichever
// of them is advanced, all get what the next block holds for them.
type sharedRead struct {
	r       *mdf.SharedReader
	at      mdf.SharedPosition
	members []*member
	marks   [][]place // at starts of windows of the data: a place each member
}

// A member is one group of a sharedRead; it implements blocks.
type member struct {
	*records
	all    *sharedRead
	number int
	source *source
}

// readShared opens the groups of a plan that share their data.
func readShared(f *mdf.File, groups []*mdf.ChannelGroup, plans map[*mdf.ChannelGroup]*groupPlan) (*sharedRead, error) {
	var selected []mdf.Selection
	s := &sharedRead{at: mdf.SharedPosition{Records: make([]uint64, len(groups))}}
	for i, g := range groups {
		p := plans[g]
		selected = append(selected, mdf.Selection{Group: g, Channels: p.channels})
		s.members = append(s.members, &member{records: &records{outputs: p.outputs, rows: p.rows}, all: s, number: i})
	}
	r, err := f.ReadShared(mdf.ReadOptions{ColumnsOnly: true, BlockRecords: maxBlockRecords}, selected...)
	s.r = r
	return s, err
}

func (m *member) next(ctx context.Context, _ *source) error {
	s := m.all
	b, err := s.r.Next(ctx)
	if err != nil {
		return err
	}
	s.mark()
	for _, other := range s.members {
		if other.source.group == b.Group {
			other.hand(b, other.source, false)
		}
	}
	return nil
}

// mark takes note of the places of all members at the start of a window, before its first block is handed over.
func (s *sharedRead) mark() {
	at := s.r.Position()
	if at.Offset == s.at.Offset {
		return
	}
	s.at = at
	places := make([]place, len(s.members))
	for i, m := range s.members {
		places[i] = m.source.here(mdf.Position{Record: at.Records[i], Offset: at.Offset})
	}
	s.marks = append(s.marks, places)
}

// place is the member's part of the last mark before which all rows of all members lie below to; see source.place.
func (m *member) place(to int64) *place {
	s := m.all
	for len(s.marks) > 1 && below(s.marks[1], to) {
		s.marks = s.marks[1:]
	}
	if len(s.marks) == 0 || !below(s.marks[0], to) {
		return nil
	}
	return &s.marks[0][m.number]
}

func below(places []place, to int64) bool {
	for _, p := range places {
		if p.Started && p.Newest >= to {
			return false
		}
	}
	return true
}

// resume is called for every member before reading goes on.
func (m *member) resume(p mdf.Position) error {
	s := m.all
	s.at.Offset, s.at.Records[m.number] = p.Offset, p.Record
	if m.number < len(s.members)-1 {
		return nil
	}
	places := make([]place, len(s.members))
	for i, other := range s.members {
		places[i] = other.source.here(mdf.Position{Record: s.at.Records[i], Offset: s.at.Offset})
	}
	s.marks = [][]place{places}
	return s.r.Resume(mdf.SharedPosition{Offset: s.at.Offset, Records: append([]uint64(nil), s.at.Records...)})
}

func (m *member) progress() mdf.Progress { return m.all.r.Progress()[m.number] }
func (m *member) close() error           { return m.all.r.Close() }
