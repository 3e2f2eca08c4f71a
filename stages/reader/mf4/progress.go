package mf4

// Progress is the share of the recording that was read, 0 to 1: of the records of all groups that are read, or, where the
// recorder was cut off before it counted them, of the file. It implements pipeline.Progresser.
func (r *recordingReader) Progress() float64 {
	done, all, reached := 0.0, 0.0, int64(0)
	counted, ended := true, true
	for _, s := range r.plan.sources {
		p := s.in.progress()
		counted, ended = counted && s.group.CyclesKnown, ended && s.ended
		reached = max(reached, p.Offset)
		all += float64(p.Expected)
		if s.ended {
			done += float64(p.Expected)
		} else {
			done += float64(p.Records)
		}
	}
	switch {
	case ended:
		return 1
	case counted && all > 0:
		return min(done/all, 1)
	}
	return min(float64(reached)/float64(max(r.size, 1)), 1)
}
