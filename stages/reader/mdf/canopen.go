package mdf

import (
	"encoding/binary"
	"time"
)

// Time returns the sample of record i of a CANopenDate or CANopenTime channel, in UTC: neither says its zone. ok is false for
// other channels and for what is no date. Invalid samples have times too, as in Values.
func (c *Column) Time(i int) (t time.Time, ok bool) {
	if c.Offsets == nil || c.Channel == nil {
		return time.Time{}, false
	}
	switch c.Channel.DataType {
	case CANopenDate:
		return canopenDate(c.At(i))
	case CANopenTime:
		return canopenTime(c.At(i))
	}
	return time.Time{}, false
}

// canopenDate reads 7 bytes: milliseconds, minute, hour, day and day of the week, month, year (MDF 4.2, 5.13.4 table; years up
// to 83 are of this century).
func canopenDate(b []byte) (time.Time, bool) {
	if len(b) < 7 {
		return time.Time{}, false
	}
	ms := int(binary.LittleEndian.Uint16(b))
	minute, hour, day, month, year := int(b[2]&0x3f), int(b[3]&0x1f), int(b[4]&0x1f), int(b[5]&0x3f), int(b[6]&0x7f)
	if year += 1900; year < 1984 {
		year += 100
	}
	t := time.Date(year, time.Month(month), day, hour, minute, 0, ms*int(time.Millisecond), time.UTC)
	return t, ms < 60000 && minute < 60 && hour < 24 && month >= 1 && month <= 12 && t.Day() == day && t.Month() == time.Month(month)
}

// canopenTime reads 6 bytes: milliseconds since midnight in 28 bits, days since 1984-01-01.
func canopenTime(b []byte) (time.Time, bool) {
	if len(b) < 6 {
		return time.Time{}, false
	}
	ms, days := binary.LittleEndian.Uint32(b)&(1<<28-1), binary.LittleEndian.Uint16(b[4:])
	t := time.Date(1984, 1, 1+int(days), 0, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	return t, ms < 24*3600*1000
}
