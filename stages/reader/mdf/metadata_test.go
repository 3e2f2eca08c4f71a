package mdf

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// attach writes an ATBLOCK.
func (b *builder) attach(next int64, flags uint16, data []byte, sum [16]byte) int64 {
	le := binary.LittleEndian
	body := data
	if flags&atCompressed != 0 {
		var p packer
		body, _ = p.deflate(data)
	}
	d := make([]byte, 0, 40)
	d = le.AppendUint32(le.AppendUint16(le.AppendUint16(d, flags), 0), 0)
	d = append(d, sum[:]...)
	size, disk := uint64(len(data)), uint64(len(body))
	if flags&atEmbedded == 0 {
		size, disk, body = 0, 0, nil
	}
	d = le.AppendUint64(le.AppendUint64(d, size), disk)
	return b.append("AT", []int64{next, b.text("pic.png"), b.text("image/png"), b.md("<ATcomment><TX>a photo</TX></ATcomment>")}, d, body)
}

// md writes an MDBLOCK.
func (b *builder) md(xml string) int64 {
	body := append([]byte(xml), 0)
	return b.append("MD", nil, append(body, make([]byte, -len(body)&7)...))
}

func TestAttachments(t *testing.T) {
	data := bytes.Repeat([]byte("what the camera saw "), 500)
	sum := md5.Sum(data)
	b := newBuilder(0)
	third := b.attach(0, 0, nil, [16]byte{})
	second := b.attach(third, atEmbedded|atCompressed|atMD5, data, sum)
	b.setLink(64, hdAttachment, b.attach(second, atEmbedded, data, sum))
	f := mustOpen(t, &b.memory)
	all, err := f.Attachments()
	if err != nil || len(all) != 3 {
		t.Fatalf("%d attachments, %v", len(all), err)
	}
	for i, a := range all[:2] {
		r, err := a.Open()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, data) || a.Size != int64(len(data)) || a.Name != "pic.png" || a.MIMEType != "image/png" ||
			a.Comment != "a photo" || a.Compressed != (i == 1) || (a.MD5 != nil) != (i == 1) {
			t.Errorf("%+v: %d bytes, %v", a, len(got), err)
		}
	}
	if _, err := all[2].Open(); all[2].Embedded || !errors.Is(err, ErrUnsupported) {
		t.Errorf("a file of its own: %v", err)
	}
}

// metadataFile has attachments, an event and a history.
func metadataFile() *builder {
	b := newBuilder(0)
	first := sampleChannels(b)
	g := b.groups(cg{cycles: 3, data: 12, first: first})
	b.dg(0, g[0], b.append("DT", nil, samples(3)))
	data := bytes.Repeat([]byte("ab"), 40)
	at := b.attach(b.attach(0, atEmbedded|atMD5, data, md5.Sum(data)), atEmbedded|atCompressed|atMD5, data, md5.Sum(data))
	b.setLink(64, hdAttachment, at)
	ev := make([]byte, 32)
	ev[8], ev[12] = 2, 1
	b.setLink(64, hdEvent, b.append("EV", []int64{0, 0, 0, b.text("e"), b.md("<EVcomment><TX>x</TX></EVcomment>"), g[0], first, at}, ev))
	b.setLink(64, hdHistory, b.append("FH", []int64{0, b.md("<FHcomment><TX>y</TX></FHcomment>")}, make([]byte, 16)))
	return b
}

func TestDamagedAttachmentsAreNamed(t *testing.T) {
	data := []byte(strings.Repeat("0123456789", 100))
	for name, tt := range map[string]struct {
		flags  uint16
		change func(b *builder, at int64)
		says   string
	}{
		"MD5": {atEmbedded | atCompressed | atMD5, func(b *builder, at int64) { b.b[at+headerSize+32+8] ^= 1 }, "MD5"},
		"check sum": {atEmbedded | atCompressed, func(b *builder, at int64) {
			b.b[at+headerSize+32+atData+int64(b.b[at+headerSize+32+32])-1] ^= 1
		}, "cannot be read"},
		"more":     {atEmbedded | atCompressed, func(b *builder, at int64) { b.b[at+headerSize+32+24]-- }, "more than the"},
		"fewer":    {atEmbedded | atCompressed, func(b *builder, at int64) { b.b[at+headerSize+32+24]++ }, "of the"},
		"bomb":     {atEmbedded | atCompressed, func(b *builder, at int64) { b.b[at+headerSize+32+24+5] = 9 }, "inflate"},
		"cycle":    {atEmbedded, func(b *builder, at int64) { b.setLink(at, 0, at) }, "cycle"},
		"too long": {atEmbedded, func(b *builder, at int64) { b.b[at+headerSize+32+32+4] = 1 }, "embedded"},
		"cut":      {atEmbedded, func(b *builder, at int64) { b.b = b.b[:len(b.b)-8] }, "ends after"},
	} {
		b := newBuilder(0)
		at := b.attach(0, tt.flags, data, md5.Sum(data))
		b.setLink(64, hdAttachment, at)
		tt.change(b, at)
		all, err := mustOpen(t, &b.memory).Attachments()
		if err == nil {
			var r io.Reader
			if r, err = all[0].Open(); err == nil {
				_, err = io.Copy(io.Discard, r)
			}
		}
		var fe *FormatError
		if !errors.As(err, &fe) || fe.Offset != at || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEventsAndHistory(t *testing.T) {
	le := binary.LittleEndian
	b := newBuilder(0)
	first := sampleChannels(b)
	g := b.groups(cg{cycles: 1, data: 12, first: first})
	b.dg(0, g[0], b.append("DT", nil, samples(1)))
	at := b.attach(0, 0, nil, [16]byte{})
	b.setLink(64, hdAttachment, at)
	event := func(links []int64, typ EventType, rng RangeType, base int64, factor float64) int64 {
		d := make([]byte, 32)
		d[0], d[1], d[2], d[3], d[4] = byte(typ), byte(SyncTime), byte(rng), 4, 1
		le.PutUint32(d[8:], uint32(len(links)-6))
		le.PutUint64(d[16:], uint64(base))
		le.PutUint64(d[24:], math.Float64bits(factor))
		return b.append("EV", links, d)
	}
	end := event([]int64{0, 0, 0, b.text("end"), 0, 0}, EventMarker, RangeEnd, 9, 0.5)
	begin := event([]int64{end, 0, 0, b.text("begin"), b.md("<EVcomment><TX>near miss</TX></EVcomment>"), g[0], first, at}, EventMarker, RangeBegin, -3, 0.5)
	b.setLink(end, 2, begin)
	b.setLink(end, 1, begin)
	b.setLink(64, hdEvent, begin)
	fh := le.AppendUint64(nil, 1_600_000_000_000_000_000)
	fh = append(fh, 60, 0, 0, 0, 2, 0, 0, 0)
	second := b.append("FH", []int64{0, b.md("<FHcomment><TX>cut</TX><tool_id>x</tool_id><tool_vendor>v</tool_vendor><tool_version>2</tool_version></FHcomment>")}, fh)
	b.setLink(64, hdHistory, b.append("FH", []int64{second, 0}, fh))
	f := mustOpen(t, &b.memory)
	events, err := f.Events()
	if err != nil || len(events) != 2 {
		t.Fatalf("%+v, %v", events, err)
	}
	e := events[0]
	if e.Name != "begin" || e.Comment != "near miss" || e.Value != -1.5 || e.Type.String() != "marker" || e.Range != RangeBegin || e.Sync != SyncTime ||
		e.Cause != 4 || !e.PostProcessed || e.Parent != -1 || len(e.Groups) != 1 || e.Groups[0] != f.Groups[0] || len(e.Channels) != 1 ||
		e.Channels[0] != f.Groups[0].Channels[0] || len(e.Attachments) != 1 || e.Attachments[0] != 0 {
		t.Errorf("%+v", e)
	}
	if e := events[1]; e.Begin != 0 || e.Parent != 0 || e.Value != 4.5 || e.Groups != nil {
		t.Errorf("%+v", e)
	}
	history, err := f.History()
	if err != nil || len(history) != 2 || history[1].Tool != "x" || history[1].Vendor != "v" || history[1].Version != "2" || history[1].Comment != "cut" ||
		history[1].Time.Unix() != 1_600_000_000 {
		t.Fatalf("%+v, %v", history, err)
	}
	if _, offset := history[1].Time.Zone(); offset != 3600 {
		t.Errorf("zone %d s", offset)
	}
	b.setLink(end, 0, begin)
	if got, err := mustOpen(t, &b.memory).Events(); err == nil || len(got) != 2 {
		t.Errorf("cycle of events: %d, %v", len(got), err)
	}
}

func TestCommentsAsTheyStandInTheFile(t *testing.T) {
	b := newBuilder(0)
	first := sampleChannels(b)
	g := b.groups(cg{cycles: 1, data: 12, first: first})
	xml := "<CNcomment><TX>speed</TX><common_properties/></CNcomment>"
	b.setLink(first, 7, b.md(xml))
	b.setLink(g[0], 5, b.md(xml))
	b.dg(0, g[0], b.append("DT", nil, samples(1)))
	group := mustOpen(t, &b.memory).Groups[0]
	c := group.Channels[0]
	got, err := c.CommentXML()
	of, err2 := group.CommentXML()
	if got != xml || of != xml || comment(t, c) != "speed" || group.Comment != "speed" || errors.Join(err, err2) != nil {
		t.Errorf("%q, %q, %v, %v", got, of, err, err2)
	}
	if got, err := group.Channels[1].CommentXML(); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
