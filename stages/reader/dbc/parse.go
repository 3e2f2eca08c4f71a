package dbc

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.einride.tech/can/pkg/dbc"
)

// What files in the wild contain and the parser refuses, each with a test in load_test.go:
//   - extended multiplexing, `SG_ Name m3M` and SG_MUL_VAL_
//   - no receiver after the unit, receivers without commas
//   - numbers as `+1` or `.5`
//   - names with characters beyond letters, digits and underscore
//   - ids above 0x7ff without the flag of extended ids
//   - VAL_ that names a VAL_TABLE_ instead of listing values
//   - bytes of Windows-1252, a byte order mark, // lines

// parsed returns the definition that the library reads from one statement, or the library's reason for refusing it, and
// whether text was left over behind the definition.
func parsed(s statement) (def dbc.Def, rest bool, refused error) {
	p := dbc.NewParser("", []byte(s.text))
	defer func() { // the library panics on some malformed input; one statement is then refused, not the process ended
		if r := recover(); r != nil {
			def, refused = nil, fmt.Errorf("parser gave up: %v", r)
		}
	}()
	err := p.Parse()
	defs := p.Defs()
	if len(defs) == 0 {
		return nil, false, fmt.Errorf("%s", reason(err))
	}
	return defs[0], err != nil || len(defs) > 1, nil
}

func reason(err dbc.Error) string {
	if err == nil {
		return "empty statement"
	}
	return err.Reason()
}

// A messageHead is BO_ without its signals.
type messageHead struct {
	id     uint32 // with ExtendedFlag
	name   string
	length uint64
	sender string
}

var messagePattern = regexp.MustCompile(`^\s*BO_\s+(\d+)\s+([^\s:]+)\s*:\s*(\d+)(?:\s+(\S+))?\s*$`)

func parseMessage(s statement) (messageHead, bool, error) {
	def, rest, refused := parsed(s)
	if d, ok := def.(*dbc.MessageDef); ok {
		return messageHead{uint32(d.MessageID), string(d.Name), d.Size, string(d.Transmitter)}, rest, nil
	}
	f := messagePattern.FindStringSubmatch(s.text)
	if f == nil {
		return messageHead{}, false, fmt.Errorf("BO_: %w", refused)
	}
	id, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return messageHead{}, false, fmt.Errorf("BO_: id %s: %w", f[1], err)
	}
	length, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil {
		return messageHead{}, false, fmt.Errorf("BO_: length %s: %w", f[3], err)
	}
	return messageHead{uint32(id), f[2], length, f[4]}, true, nil
}

// A signalLine is SG_ as read, before it is checked.
type signalLine struct {
	name           string
	isSwitch       bool
	selected       bool
	switchValue    uint64
	start, size    uint64
	motorola       bool
	signed         bool
	factor, offset float64
	min, max       float64
	unit           string
}

var signalPattern = regexp.MustCompile(`^\s*SG_\s+([^\s:]+)\s*(?:(M)|m(\d+)(M?))?\s*:\s*(\d+)\s*\|\s*(\d+)\s*@\s*([01])\s*([+-])\s*` +
	`\(([^,)]*),([^)]*)\)\s*(?:\[([^|\]]*)\|([^\]]*)\]\s*)?(?:"((?:[^"\\]|\\.)*)")?\s*([^"]*)$`)

func parseSignal(s statement) (signalLine, bool, error) {
	def, rest, refused := parsed(s)
	if d, ok := def.(*dbc.SignalDef); ok {
		return signalLine{
			name: string(d.Name), isSwitch: d.IsMultiplexerSwitch, selected: d.IsMultiplexed, switchValue: d.MultiplexerSwitch,
			start: d.StartBit, size: d.Size, motorola: d.IsBigEndian, signed: d.IsSigned, factor: d.Factor, offset: d.Offset,
			min: d.Minimum, max: d.Maximum, unit: d.Unit,
		}, rest, nil
	}
	f := signalPattern.FindStringSubmatch(s.text)
	if f == nil {
		return signalLine{}, false, fmt.Errorf("SG_: %w", refused)
	}
	l, err := signalFields(f)
	if err != nil {
		return signalLine{}, false, fmt.Errorf("SG_ %s: %w", f[1], err)
	}
	return l, true, nil
}

func signalFields(f []string) (signalLine, error) {
	n := numbers{}
	l := signalLine{
		name: f[1], isSwitch: f[2] == "M" || f[4] == "M", selected: f[3] != "", switchValue: n.uint(f[3], "0"),
		start: n.uint(f[5], ""), size: n.uint(f[6], ""), motorola: f[7] == "0", signed: f[8] == "-",
		factor: n.float(f[9]), offset: n.float(f[10]), min: n.optional(f[11]), max: n.optional(f[12]), unit: f[13],
	}
	return l, n.err
}

// numbers keeps the first error of a row of conversions.
type numbers struct{ err error }

func (n *numbers) uint(s, empty string) uint64 {
	if s == "" {
		s = empty
	}
	v, err := strconv.ParseUint(s, 10, 64)
	n.keep(err)
	return v
}

func (n *numbers) float(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err == nil && (math.IsInf(v, 0) || math.IsNaN(v)) {
		err = fmt.Errorf("%s is not finite", s)
	}
	n.keep(err)
	return v
}

// optional is for the declared range, which decodes nothing: what is no number means none.
func (n *numbers) optional(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		return 0
	}
	return v
}

func (n *numbers) keep(err error) {
	if n.err == nil {
		n.err = err
	}
}

// A labelsLine is VAL_ of a signal: labels, or the name of a table with them.
type labelsLine struct {
	id     uint32
	signal string
	table  string
	labels []ValueLabel
}

var (
	labelsPattern = regexp.MustCompile(`^\s*VAL_\s+(\d+)\s+(\S+)\s+((?s:.*?))\s*;?\s*$`)
	labelPattern  = regexp.MustCompile(`(-?\d+(?:\.\d+)?)\s*"((?:[^"\\]|\\.)*)"`)
	namePattern   = regexp.MustCompile(`^[A-Za-z_]\w*$`)
)

// parseLabels reads VAL_; ok is false for environment variables and for what cannot be read.
func parseLabels(s statement) (l labelsLine, ok bool) {
	if def, _, _ := parsed(s); def != nil {
		d, isLabels := def.(*dbc.ValueDescriptionsDef)
		if isLabels && d.SignalName != "" {
			return labelsLine{id: uint32(d.MessageID), signal: string(d.SignalName), labels: labels(d.ValueDescriptions)}, true
		}
	}
	f := labelsPattern.FindStringSubmatch(s.text)
	if f == nil {
		return l, false
	}
	id, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return l, false
	}
	l = labelsLine{id: uint32(id), signal: f[2]}
	if namePattern.MatchString(f[3]) {
		l.table = f[3]
	}
	l.labels = labelList(f[3])
	return l, l.table != "" || len(l.labels) > 0
}

var tablePattern = regexp.MustCompile(`^\s*VAL_TABLE_\s+(\S+)\s+((?s:.*?))\s*;?\s*$`)

func parseTable(s statement) (name string, l []ValueLabel, ok bool) {
	if def, _, _ := parsed(s); def != nil {
		if d, isTable := def.(*dbc.ValueTableDef); isTable {
			return string(d.TableName), labels(d.ValueDescriptions), true
		}
	}
	f := tablePattern.FindStringSubmatch(s.text)
	if f == nil {
		return "", nil, false
	}
	return f[1], labelList(f[2]), true
}

func labels(defs []dbc.ValueDescriptionDef) []ValueLabel {
	out := make([]ValueLabel, len(defs))
	for i, d := range defs {
		out[i] = ValueLabel{int64(d.Value), d.Description}
	}
	return out
}

func labelList(list string) []ValueLabel {
	var out []ValueLabel
	for _, m := range labelPattern.FindAllStringSubmatch(list, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		out = append(out, ValueLabel{int64(v), m[2]})
	}
	return out
}

var valueTypePattern = regexp.MustCompile(`^\s*SIG_VALTYPE_\s+(\d+)\s+([^\s:]+)\s*:?\s*(\d)\s*;?\s*$`)

// parseValueType reads SIG_VALTYPE_: 0 integer, 1 32-bit float, 2 64-bit float.
func parseValueType(s statement) (id uint32, signal string, kind uint64, ok bool) {
	f := valueTypePattern.FindStringSubmatch(s.text)
	if f == nil {
		return 0, "", 0, false
	}
	n, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil || f[3] > "2" {
		return 0, "", 0, false
	}
	return uint32(n), f[2], uint64(f[3][0] - '0'), true
}

// A selection is SG_MUL_VAL_: which values of which switch select a signal.
type selection struct {
	id       uint32
	signal   string
	switches string
	ranges   []SwitchRange
}

var (
	selectionPattern = regexp.MustCompile(`^\s*SG_MUL_VAL_\s+(\d+)\s+(\S+)\s+(\S+)\s+([\d\s,-]+?)\s*;?\s*$`)
	rangePattern     = regexp.MustCompile(`(\d+)\s*-\s*(\d+)`)
)

func parseSelection(s statement) (selection, bool) {
	f := selectionPattern.FindStringSubmatch(s.text)
	if f == nil {
		return selection{}, false
	}
	n := numbers{}
	sel := selection{id: uint32(n.uint(f[1], "")), signal: f[2], switches: f[3]}
	for _, r := range rangePattern.FindAllStringSubmatch(f[4], -1) {
		sel.ranges = append(sel.ranges, SwitchRange{n.uint(r[1], ""), n.uint(r[2], "")})
	}
	return sel, n.err == nil && len(sel.ranges) > 0
}

// parseComment reads CM_ of a message (signal is empty) or a signal.
func parseComment(s statement) (id uint32, signal, comment string, ok bool) {
	def, _, _ := parsed(s)
	d, isComment := def.(*dbc.CommentDef)
	if !isComment || d.ObjectType != dbc.ObjectTypeMessage && d.ObjectType != dbc.ObjectTypeSignal {
		return 0, "", "", false
	}
	return uint32(d.MessageID), string(d.SignalName), d.Comment, true
}
