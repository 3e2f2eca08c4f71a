package mdf

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// text returns the text of the TX or MD block at link: a TX as it stands, of an MD the first <TX> element.
// A nil link gives the empty text. Texts are cached, since units are shared between many channels.
func (f *File) text(link int64) (string, error) {
	t, err := f.textAt(link)
	return t.text, err
}

// rawText is text with the XML of an MD block left alone.
func (f *File) rawText(link int64) (string, error) {
	t, err := f.textAt(link)
	return t.s, err
}

// A textBlock is what a TX or MD block holds.
type textBlock struct {
	s    string // as it stands
	text string // of an MD what its XML says; found out once, since any number of blocks may share it
	xml  bool   // it is an MD
}

func newTextBlock(s string, xml bool) textBlock {
	t := textBlock{s: s, text: s, xml: xml}
	if !xml {
		return t
	}
	var ok bool
	if t.text, ok = xmlElement(s, "TX"); !ok {
		t.text = strings.TrimSpace(s)
	}
	return t
}

func (f *File) textAt(link int64) (textBlock, error) {
	if link == 0 {
		return textBlock{}, nil
	}
	if t, ok := f.texts.get(link); ok {
		return t, nil
	}
	b, err := f.src.block(link, "##TX", "##MD")
	if err != nil {
		return textBlock{}, err
	}
	d, _ := b.data(0)
	t := newTextBlock(string(cutNUL(d)), b.id == "##MD")
	f.texts.put(link, t)
	f.note(link)
	return t, nil
}

func cutNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// xmlElement returns the unescaped text of the first element of that name, attributes ignored. The MD blocks of
// real writers are often no well-formed XML (unescaped ampersands), so no XML parser is asked.
func xmlElement(s, name string) (string, bool) {
	for rest := s; ; {
		i := strings.Index(rest, "<"+name)
		if i < 0 {
			return "", false
		}
		rest = rest[i+1+len(name):]
		if rest == "" || !strings.ContainsRune("> /\t\r\n", rune(rest[0])) {
			continue
		}
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return "", false
		}
		if end > 0 && rest[end-1] == '/' {
			return "", true
		}
		body := rest[end+1:]
		if j := strings.Index(body, "</"+name); j >= 0 {
			body = body[:j]
		}
		return unescapeXML(body), true
	}
}

var xmlEntities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&")

func unescapeXML(s string) string {
	if !strings.ContainsRune(s, '&') {
		return s
	}
	return xmlEntities.Replace(s)
}

// appendText appends a sample of a text channel to dst as UTF-8, cut at its first NUL.
func appendText(dst, b []byte, t DataType) []byte {
	switch t {
	case Latin1:
		for _, c := range b {
			if c == 0 {
				return dst
			}
			dst = utf8.AppendRune(dst, rune(c))
		}
		return dst
	case UTF16LE, UTF16BE:
		return appendUTF16(dst, b, t == UTF16BE)
	default:
		return append(dst, cutNUL(b)...)
	}
}

func appendUTF16(dst, b []byte, big bool) []byte {
	unit := func(i int) rune {
		if big {
			return rune(b[i])<<8 | rune(b[i+1])
		}
		return rune(b[i+1])<<8 | rune(b[i])
	}
	for i := 0; i+1 < len(b); i += 2 {
		r := unit(i)
		if r == 0 {
			return dst
		}
		if utf16.IsSurrogate(r) {
			var low rune
			if i+3 < len(b) {
				low = unit(i + 2)
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 2
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
