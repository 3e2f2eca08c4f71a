package dbc

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// A statement is one entry of a file: from a line that begins with a keyword up to the next such line.
type statement struct {
	keyword string
	text    string
	line    int // of the keyword, from 1
}

// keywords begin a statement. The list is that of NS_ in the format's description, with the sections before it.
var keywords = func() map[string]bool {
	const all = `VERSION NS_ BS_ BU_ BO_ SG_ EV_ CM_ BA_DEF_ BA_ VAL_ CAT_DEF_ CAT_ FILTER BA_DEF_DEF_ EV_DATA_ ENVVAR_DATA_
		SGTYPE_ SGTYPE_VAL_ BA_DEF_SGTYPE_ BA_SGTYPE_ SIG_TYPE_REF_ VAL_TABLE_ SIG_GROUP_ SIG_VALTYPE_ SIGTYPE_VALTYPE_
		BO_TX_BU_ BA_DEF_REL_ BA_REL_ BA_DEF_DEF_REL_ BU_SG_REL_ BU_EV_REL_ BU_BO_REL_ SG_MUL_VAL_ NS_DESC_`
	set := map[string]bool{}
	for _, k := range strings.Fields(all) {
		set[k] = true
	}
	return set
}()

// text converts a file to UTF-8. Editors of this format write Windows-1252 ("°C" is two bytes in one and one in the other).
func text(raw []byte) string {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if utf8.Valid(raw) {
		return string(raw)
	}
	decoded, err := charmap.Windows1252.NewDecoder().Bytes(raw)
	if err != nil { // the decoder maps every byte; kept so that a change there cannot lose a file
		return strings.ToValidUTF8(string(raw), "?")
	}
	return string(decoded)
}

// split cuts a file into statements. Lines before the first keyword come back as stray, joined to no statement; unclosed
// are the lines of strings that never end; their statement ends there.
func split(file string) (statements, stray []statement, unclosed []int) {
	sp := splitter{file: file}
	for sp.at.offset < len(file) {
		sp.step()
		if sp.at.offset == len(file) && sp.inString {
			sp.rewind()
		}
	}
	return sp.statements, sp.stray, sp.unclosed
}

type splitter struct {
	file       string
	at         place // behind the lines taken so far
	statements []statement
	stray      []statement
	unclosed   []int
	start      int   // offset of the current statement
	inString   bool  // a string of the current statement goes on
	opened     place // behind the first line of the current statement that ends inside a string
	inSymbols  bool  // the list under NS_, where a keyword alone on a line is no statement
}

// A place lies behind a line: the line's number, from 1, and the offset of the next.
type place struct{ line, offset int }

// step takes one line. Text is never copied: a statement is a part of the file.
func (sp *splitter) step() {
	from := sp.at.offset
	line, _, _ := strings.Cut(sp.file[from:], "\n")
	word := firstWord(line)
	if sp.inString && word == "BO_" {
		sp.rewind() // a message inside a string: the string was never closed
		return
	}
	sp.at = place{sp.at.line + 1, min(from+len(line)+1, len(sp.file))}
	bare := strings.TrimSpace(line)
	switch {
	case sp.inString:
		sp.extend(line)
	case strings.HasPrefix(word, "//"):
	case sp.inSymbols && bare == word && keywords[word]:
	case keywords[word]:
		sp.inSymbols = word == "NS_"
		sp.statements = append(sp.statements, statement{keyword: word, line: sp.at.line})
		sp.start, sp.opened = from, place{}
		sp.extend(line)
	case len(sp.statements) > 0:
		sp.extend(line)
	case bare != "":
		sp.stray = append(sp.stray, statement{text: line, line: sp.at.line})
	}
}

// rewind ends the current statement with the first line that left a string open and goes on behind that: one quotation mark too
// many in a comment must not swallow the statements after it (a lost SIG_VALTYPE_ would mean wrong values).
func (sp *splitter) rewind() {
	sp.at, sp.inString, sp.opened = sp.opened, false, place{}
	sp.unclosed = append(sp.unclosed, sp.at.line)
	sp.statements[len(sp.statements)-1].text = sp.file[sp.start:sp.at.offset]
}

func (sp *splitter) extend(line string) {
	was := sp.inString
	for i := range len(line) {
		if line[i] == '"' && (i == 0 || line[i-1] != '\\') {
			sp.inString = !sp.inString
		}
	}
	if sp.inString && !was && sp.opened.line == 0 {
		sp.opened = sp.at
	}
	sp.statements[len(sp.statements)-1].text = sp.file[sp.start:sp.at.offset]
}

// firstWord is the text before the first blank or colon.
func firstWord(line string) string {
	line = strings.TrimLeft(line, " \t")
	if i := strings.IndexAny(line, " \t:\r"); i >= 0 {
		return line[:i]
	}
	return line
}
