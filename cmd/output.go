package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// table prints rows under upper-case headings, columns aligned, each row in a line of its own whatever its cells hold.
func table(w io.Writer, heading []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(heading, "\t"))
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, text := range r {
			cells[i] = cellText(text)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// cellText is a text as it may stand in a line: what would end the line, move the cursor or speak to the terminal is escaped as Go
// does it. File names may hold any of it.
func cellText(text string) string {
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// show prints a value as -o says: JSON, YAML, a table made by rows, or the table's first column alone.
func (a *app) show(value any, heading []string, rows func() [][]string) error {
	switch a.output {
	case "json", "yaml":
		return a.document(value)
	case "table":
		return table(a.stdout, heading, rows())
	case "name":
		for _, r := range rows() {
			if _, err := fmt.Fprintln(a.stdout, strings.TrimSpace(r[0])); err != nil {
				return err
			}
		}
		return nil
	}
	return a.checkOutput()
}

// checkOutput refuses an -o that no list knows.
func (a *app) checkOutput() error {
	if slices.Contains([]string{"table", "json", "yaml", "name"}, a.output) {
		return nil
	}
	return exit(ExitUsage, fmt.Errorf("-o %s: want table, json, yaml or name", a.output))
}

// structured says whether the output asked for is a document.
func (a *app) structured() bool { return a.output == "json" || a.output == "yaml" }

// document prints a value as JSON or, with the same names, as YAML.
func (a *app) document(value any) error {
	if a.output != "yaml" {
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(value)
	}
	data, err := json.Marshal(value)
	if err == nil {
		data, err = yaml.JSONToYAML(data)
	}
	if err == nil {
		_, err = a.stdout.Write(data)
	}
	return err
}

// bytesText writes a size as people read it.
func bytesText(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[prefix])
}

// countText writes a count or rate in at most five characters: 950, 41.3k, 1.9M.
func countText(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1fM", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1fk", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

// clockText writes a duration as m:ss or h:mm:ss.
func clockText(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// ageText writes how long ago something was: 4s, 6m, 3h, 12d.
func ageText(d time.Duration) string {
	switch {
	case d < 0: // a clock was set back since
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
