package mdf

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// Links of the header (MDF 4.2, 5.4) to lists that are read when they are asked for.
const (
	hdHistory = iota + 1
	hdHierarchy
	hdAttachment
	hdEvent
)

// fresh returns a File for reading header blocks after opening, with caches and a budget of its own.
func (f *File) fresh() *File {
	g := *f
	g.src = &source{r: f.src.r, size: f.src.size, pages: map[int64][]byte{}, budget: f.src.size, limit: f.src.limit}
	g.opening, g.starts = new(opening), nil
	return &g
}

// aside is fresh for one small block: it is read without its neighbours.
func (f *File) aside() *File {
	g := f.fresh()
	g.src.pages = nil
	return g
}

// A HistoryEntry says who has changed the file when (FHBLOCK). The first is of the program that created it.
type HistoryEntry struct {
	Time       time.Time
	LocalTime  bool   // Time is wall-clock time of an unknown zone, shown as UTC
	Comment    string // what was done
	Tool       string // tool_id
	Vendor     string // tool_vendor
	Version    string // tool_version
	CommentXML string // all of it, as it stands
}

// History reads the history of the file. What is in front of damage is returned with the error.
func (f *File) History() ([]HistoryEntry, error) {
	r := f.fresh()
	var all []HistoryEntry
	comments := map[int64]HistoryEntry{} // by link: entries may share one
	for link := f.lists[hdHistory]; link != 0; {
		b, d, err := r.entry(link, "##FH", 16)
		if err != nil {
			return all, fmt.Errorf("read history entry %d: %w", len(all), err)
		}
		e, known := comments[b.link(1)]
		if !known {
			if e, err = r.historyComment(b.link(1)); err != nil {
				return all, fmt.Errorf("read history entry %d: %w", len(all), err)
			}
			comments[b.link(1)] = e
		}
		e.Time, e.LocalTime = timestamp(d)
		all = append(all, e)
		link = b.link(0)
	}
	return all, nil
}

// historyComment reads what an entry says in its comment.
func (f *File) historyComment(link int64) (e HistoryEntry, err error) {
	if e.CommentXML, err = f.rawText(link); err != nil {
		return e, err
	}
	e.Comment, _ = f.text(link)
	e.Tool, _ = xmlElement(e.CommentXML, "tool_id")
	e.Vendor, _ = xmlElement(e.CommentXML, "tool_vendor")
	e.Version, _ = xmlElement(e.CommentXML, "tool_version")
	return e, nil
}

// entry reads one block of a list and at least min bytes of its data.
func (f *File) entry(link int64, id string, min int) (block, []byte, error) {
	if err := f.once(link, id); err != nil {
		return block{}, nil, err
	}
	b, err := f.src.block(link, id)
	if err != nil {
		return block{}, nil, err
	}
	d, err := b.data(min)
	return b, d, err
}

// timestamp reads a time in ns since 1970, its zone and daylight saving in minutes, and its flags: bit 0 says local time,
// bit 1 that the offsets are valid (MDF 4.2, 5.4 and 5.5).
func timestamp(d []byte) (t time.Time, local bool) {
	ns := binary.LittleEndian.Uint64(d)
	zone, dst := int16(binary.LittleEndian.Uint16(d[8:])), int16(binary.LittleEndian.Uint16(d[10:]))
	flags := d[12]
	t = time.Unix(int64(ns/1e9), int64(ns%1e9)).UTC()
	if flags&3 == 2 && (zone != 0 || dst != 0) {
		t = t.In(time.FixedZone("", (int(zone)+int(dst))*60))
	}
	return t, flags&1 != 0
}

// Comment reads the text of the comment of the channel; "" if there is none. Open does not read comments of channels, which may
// be most of the header blocks of a file.
func (c *Channel) Comment() (string, error) { return c.Group.File.aside().text(c.comment) }

// CommentXML reads the comment of the channel as it stands in the file; "" if there is none. Comment has its text.
func (c *Channel) CommentXML() (string, error) { return c.Group.File.aside().rawText(c.comment) }

// CommentXML reads the comment of the group as it stands in the file; "" if there is none. Comment has its text.
func (g *ChannelGroup) CommentXML() (string, error) { return g.File.aside().rawText(g.comment) }

// EventType says what an event is (ev_type).
type EventType uint8

// Event types of MDF 4.2, 5.9.
const (
	EventRecording EventType = iota
	EventRecordingInterrupt
	EventAcquisitionInterrupt
	EventStartTrigger
	EventStopTrigger
	EventTrigger
	EventMarker
)

var eventNames = [...]string{"recording", "recording interrupt", "acquisition interrupt", "start of recording trigger",
	"stop of recording trigger", "trigger", "marker"}

// String returns the name of the type.
func (t EventType) String() string {
	if int(t) < len(eventNames) {
		return eventNames[t]
	}
	return fmt.Sprintf("event type %d", uint8(t))
}

// RangeType says whether an event is a point or one end of a range (ev_range_type).
type RangeType uint8

// Range types of MDF 4.2, 5.9.
const (
	Point RangeType = iota
	RangeBegin
	RangeEnd
)

// An Event is something that happened at a time, or another synchronization value, of the recording (EVBLOCK).
type Event struct {
	Name, Comment string
	CommentXML    string
	Type          EventType
	Sync          SyncType // what Value counts
	Range         RangeType
	Cause         uint8 // 0 other, 1 error, 2 tool, 3 script, 4 user
	PostProcessed bool
	Value         float64 // seconds since File.Start if Sync is SyncTime
	Parent        int     // number of the event it belongs to, -1 if none
	Begin         int     // of a RangeEnd: number of the event that begins the range, -1 if none
	Groups        []*ChannelGroup
	Channels      []*Channel // what it is about; with no group and no channel, all of the recording
	Attachments   []int      // numbers in File.Attachments
}

const eventLinks = 5 // in front of the scope

// Events reads the events of the file. What is in front of damage is returned with the error.
func (f *File) Events() ([]Event, error) {
	r := f.fresh()
	var all []Event
	var blocks []block
	number := map[int64]int{}
	for link := f.lists[hdEvent]; link != 0; {
		e, b, err := r.event(link)
		if err != nil {
			return all, fmt.Errorf("read event %d: %w", len(all), err)
		}
		number[link] = len(all)
		all, blocks = append(all, e), append(blocks, b)
		link = b.link(0)
	}
	groups, channels := f.byOffset()
	attachments, err := f.Attachments()
	byLink := map[int64]int{}
	for i := range attachments {
		byLink[attachments[i].off] = i
	}
	for i := range all {
		e, b := &all[i], blocks[i]
		e.Parent, e.Begin = numberOf(number, b.link(1)), numberOf(number, b.link(2))
		for k := eventLinks; k < b.nlink; k++ {
			if g := groups[b.link(k)]; g != nil {
				e.Groups = append(e.Groups, g)
			}
			if c := channels[b.link(k)]; c != nil {
				e.Channels = append(e.Channels, c)
			}
			if n, ok := byLink[b.link(k)]; ok {
				e.Attachments = append(e.Attachments, n)
			}
		}
	}
	return all, err
}

func numberOf(numbers map[int64]int, link int64) int {
	if n, ok := numbers[link]; ok && link != 0 {
		return n
	}
	return -1
}

func (f *File) event(link int64) (e Event, b block, err error) {
	b, d, err := f.entry(link, "##EV", 32)
	if err != nil {
		return e, b, err
	}
	le := binary.LittleEndian
	e = Event{Type: EventType(d[0]), Sync: SyncType(d[1]), Range: RangeType(d[2]), Cause: d[3], PostProcessed: d[4]&1 != 0}
	e.Value = float64(float64(int64(le.Uint64(d[16:]))) * math.Float64frombits(le.Uint64(d[24:])))
	if e.Name, err = f.text(b.link(3)); err != nil {
		return e, b, err
	}
	if e.CommentXML, err = f.rawText(b.link(4)); err != nil {
		return e, b, err
	}
	e.Comment, err = f.text(b.link(4))
	return e, b, err
}

// byOffset finds groups and channels by the offset of their block.
func (f *File) byOffset() (map[int64]*ChannelGroup, map[int64]*Channel) {
	groups, channels := map[int64]*ChannelGroup{}, map[int64]*Channel{}
	for _, g := range f.Groups {
		groups[g.off] = g
		for _, c := range g.Channels {
			channels[c.off] = c
		}
	}
	return groups, channels
}
