package cmd

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

type channelView struct {
	Name       string `json:"name"`
	Occurrence int    `json:"occurrence"` // 0 for the first channel of that name in the group
	Unit       string `json:"unit"`
	Type       string `json:"type"` // of the raw value
	Bits       uint32 `json:"bits"`
	Master     bool   `json:"master,omitempty"`
	Conversion string `json:"conversion,omitempty"`
	Comment    string `json:"comment,omitempty"`
	Error      string `json:"error,omitempty"` // why it cannot be decoded
}

func viewChannel(c *mdf.Channel) channelView {
	v := channelView{Name: c.Name, Occurrence: c.Occurrence, Unit: c.Unit, Bits: c.BitCount, Master: c.IsMaster(),
		Conversion: conversionText(c.Conversion), Type: fmt.Sprintf("%v %d bit", c.DataType, c.BitCount)}
	switch {
	case c.Kind() == mdf.Struct:
		v.Type = fmt.Sprintf("structure of %d", len(c.Children))
		if c.Array != nil {
			v.Type += fmt.Sprintf(" %v", c.Array.Dims)
		}
	case c.Type == mdf.VLSD:
		v.Type = fmt.Sprintf("%v of any length", c.DataType)
	case c.Array != nil:
		v.Type += fmt.Sprintf(" %v", c.Array.Dims)
	}
	if c.Template != nil {
		v.Type += fmt.Sprintf(", the first of %v", c.Template)
	}
	comment, err := c.Comment()
	v.Comment = comment
	if err := cmp.Or(c.Err(), err); err != nil {
		v.Error = err.Error()
	}
	return v
}

// label is the name, with which of its name in the group it is.
func (v channelView) label() string {
	if v.Occurrence > 0 {
		return fmt.Sprintf("%s[%d]", v.Name, v.Occurrence)
	}
	return v.Name
}

// conversionText says what a conversion does, in one line.
func conversionText(c *mdf.Conversion) string {
	if c == nil || c.Err() != nil {
		return ""
	}
	switch c.Type {
	case mdf.Linear:
		return fmt.Sprintf("%v + %v x", c.Values[0], c.Values[1])
	case mdf.Rational:
		return fmt.Sprintf("rational %v", c.Values)
	case mdf.Algebraic:
		return c.Formula
	case mdf.TableInterpolated:
		return fmt.Sprintf("table of %d, interpolated", len(c.Values)/2)
	case mdf.TableNearest:
		return fmt.Sprintf("table of %d, nearest", len(c.Values)/2)
	case mdf.RangeToValue:
		return fmt.Sprintf("%d ranges to values", len(c.Values)/3)
	case mdf.ValueToText:
		return fmt.Sprintf("%d values to texts", len(c.Values))
	case mdf.RangeToText:
		return fmt.Sprintf("%d ranges to texts", len(c.Values)/2)
	case mdf.TextToValue:
		return fmt.Sprintf("%d texts to values", len(c.Refs))
	case mdf.TextToText:
		return fmt.Sprintf("%d texts to texts", len(c.Refs)/2)
	case mdf.BitfieldText:
		return fmt.Sprintf("bit field of %d texts", len(c.Masks))
	}
	return ""
}

type blockView struct {
	Channel    string `json:"channel,omitempty"` // whose values it holds; empty for records
	Offset     int64  `json:"offset"`
	ID         string `json:"id"`
	Disk       int64  `json:"bytes_in_file"`
	Start      int64  `json:"start"` // in the data
	Size       int64  `json:"bytes"`
	Transposed bool   `json:"transposed,omitempty"`
}

// addBlocks lists the blocks of the records and of values of variable length.
func (v *groupView) addBlocks(g *mdf.ChannelGroup) error {
	for b, err := range g.DataBlocks() {
		if err != nil {
			return err
		}
		v.Blocks = append(v.Blocks, blockView{Offset: b.Offset, ID: b.ID, Disk: b.Disk, Start: b.Start, Size: b.Size, Transposed: b.Transposed})
	}
	for _, c := range g.Channels {
		for b, err := range c.ValueBlocks() {
			if err != nil {
				return err
			}
			v.Blocks = append(v.Blocks, blockView{Channel: c.Name, Offset: b.Offset, ID: b.ID, Disk: b.Disk, Start: b.Start, Size: b.Size,
				Transposed: b.Transposed})
		}
	}
	return nil
}

// blockRows sums the blocks up, a row for each kind.
func (v groupView) blockRows() (rows [][]string) {
	type kind struct {
		channel, id string
		transposed  bool
	}
	sums := map[kind]*blockView{}
	count := map[kind]int{}
	var order []kind
	for _, b := range v.Blocks {
		k := kind{b.Channel, b.ID, b.Transposed}
		if sums[k] == nil {
			sums[k] = &blockView{}
			order = append(order, k)
		}
		sums[k].Disk += b.Disk
		sums[k].Size += b.Size
		count[k]++
	}
	for _, k := range order {
		text := fmt.Sprintf("  %d %s", count[k], k.id)
		if k.transposed {
			text += " transposed"
		}
		if k.channel != "" {
			text += " of " + k.channel
		}
		rows = append(rows, []string{"", text, bytesText(sums[k].Disk), bytesText(sums[k].Size), "", ""})
	}
	return rows
}

// A lostView is a part of a group that cannot be read.
type lostView struct {
	From  uint64   `json:"from_record"`
	To    uint64   `json:"to_record,omitempty"` // the first that can be read again, or the number of records; 0 unknown
	FromS *float64 `json:"from_s,omitempty"`    // time of the last record in front
	ToS   *float64 `json:"to_s,omitempty"`      // time of the first record behind
	Error string   `json:"error"`
}

func viewLoss(l mdf.Loss) lostView {
	return lostView{From: l.From, To: l.To, FromS: finite(l.Before), ToS: finite(l.After), Error: l.Err.Error()}
}

// finite is what JSON can say.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func (v fileView) printLosses(w io.Writer) {
	for _, g := range v.Groups {
		for k, l := range g.Lost {
			if k == 5 {
				fmt.Fprintf(w, "lost: %s lacks %d more parts\n", g.label(), len(g.Lost)-k)
				break
			}
			fmt.Fprintf(w, "lost: %s\n", l.text(g.Name, g.Index))
		}
	}
}

// text says which records of a group are lost, when, and why.
func (l lostView) text(group string, index int) string {
	to, from, until := "the end", "the start", "the end"
	if l.To > 0 {
		to = fmt.Sprint(l.To - 1)
	}
	if l.FromS != nil {
		from = fmt.Sprintf("%.3f s", *l.FromS)
	}
	if l.ToS != nil {
		until = fmt.Sprintf("%.3f s", *l.ToS)
	}
	return fmt.Sprintf("%s (group %d) records %d to %s, from %s to %s: %s", group, index, l.From, to, from, until, l.Error)
}

type historyView struct {
	Time    time.Time `json:"time"`
	Tool    string    `json:"tool,omitempty"`
	Vendor  string    `json:"vendor,omitempty"`
	Version string    `json:"version,omitempty"`
	Comment string    `json:"comment,omitempty"`
}

type attachmentView struct {
	Name       string `json:"name"`
	MIMEType   string `json:"mime_type,omitempty"`
	Comment    string `json:"comment,omitempty"`
	Bytes      int64  `json:"bytes"`
	Embedded   bool   `json:"embedded"`
	Compressed bool   `json:"compressed,omitempty"`
	MD5        string `json:"md5,omitempty"`
	Fault      string `json:"fault,omitempty"` // of the embedded bytes: length, check sum, MD5
}

type eventView struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	At      *float64 `json:"at"`
	Sync    uint8    `json:"sync"` // 1: at is in seconds
	Range   uint8    `json:"range"`
	Comment string   `json:"comment,omitempty"`
}

// addMetadata reads history, attachments and events; embedded attachments are read to their end, so that MD5 sums are checked.
func (v *fileView) addMetadata(f *mdf.File) error {
	history, err := f.History()
	for _, h := range history {
		v.History = append(v.History, historyView{h.Time, h.Tool, h.Vendor, h.Version, h.Comment})
	}
	attachments, errA := f.Attachments()
	for i := range attachments {
		v.Attachments = append(v.Attachments, viewAttachment(&attachments[i]))
	}
	events, errE := f.Events()
	for _, e := range events {
		v.Events = append(v.Events, eventView{e.Name, e.Type.String(), finite(e.Value), uint8(e.Sync), uint8(e.Range), e.Comment})
	}
	return errors.Join(err, errA, errE)
}

func viewAttachment(a *mdf.Attachment) attachmentView {
	v := attachmentView{Name: a.Name, MIMEType: a.MIMEType, Comment: a.Comment, Bytes: a.Size, Embedded: a.Embedded, Compressed: a.Compressed}
	if a.MD5 != nil {
		v.MD5 = hex.EncodeToString(a.MD5[:])
	}
	if !a.Embedded {
		return v
	}
	r, err := a.Open()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		v.Fault = err.Error()
	}
	return v
}

func (v fileView) printMetadata(w io.Writer) {
	for _, a := range v.Attachments {
		state := "in a file of its own"
		switch {
		case a.Fault != "":
			state = a.Fault
		case a.Embedded && a.MD5 != "":
			state = bytesText(a.Bytes) + ", MD5 right"
		case a.Embedded:
			state = bytesText(a.Bytes)
		}
		fmt.Fprintf(w, "attachment: %s   %s   %s\n", a.Name, a.MIMEType, state)
	}
	for _, e := range v.Events {
		at := "no number"
		switch {
		case e.At == nil:
		case e.Sync == uint8(mdf.SyncTime):
			at = fmt.Sprintf("%.3f s", *e.At)
		default:
			at = fmt.Sprint(*e.At)
		}
		fmt.Fprintf(w, "event: %s   %s   %s   %s\n", at, e.Type, e.Name, oneLine(words(e.Comment)))
	}
	for _, h := range v.History {
		fmt.Fprintf(w, "history: %s   %s %s %s   %s\n", h.Time.Format(time.RFC3339), h.Vendor, h.Tool, h.Version, oneLine(words(h.Comment)))
	}
}

// words is a text without line breaks and indentation, as comments in XML have them.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }
