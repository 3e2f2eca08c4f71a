package mdf

// ahead inflates the blocks that follow on other cores while the records of the current one are decoded. One
// goroutine a block, at most len(jobs) at a time; each ends with its block, and stop waits for all of them.
type ahead struct {
	jobs  []*job
	first int // number of the fragment of jobs[0]
	n     int // jobs that are running or done
}

// job is one block on its way. buf has room in front of the data for what is left of the block before, so that the
// consumer can take buf over as its window instead of copying the block into it.
type job struct {
	inf  inflater
	rows planes
	fr   fragment
	buf  []byte
	n    int
	err  error
	done chan struct{}
}

// headroom is the room in front of the data of a job: longer records are copied.
const headroom = 4 << 10

func newAhead(blocks int) *ahead {
	a := &ahead{}
	for range blocks {
		a.jobs = append(a.jobs, &job{done: make(chan struct{}, 1)})
	}
	return a
}

func (j *job) run(src *source) {
	j.n, j.err = j.inflate(src, j.buf[headroom:])
	j.done <- struct{}{}
}

// inflate inflates the whole block to dst, which has its size.
func (j *job) inflate(src *source, dst []byte) (int, error) {
	if j.fr.zip == zipDeflate {
		return j.inf.deflated(src, &j.fr, dst)
	}
	if err := j.rows.load(&j.inf, src, &j.fr, 0, nil, j.fr.size); err != nil {
		return 0, err
	}
	end := j.fr.rows() * int(j.fr.cols)
	j.rows.transpose(dst[:end], 0, int(j.fr.cols))
	copy(dst[end:], j.rows.tail)
	return len(dst), nil
}

// fillAhead appends the block fr, which is fragment s.frag, to the window, and starts those after it.
func (s *stream) fillAhead(fr *fragment) error {
	a := s.ahead
	if a.n > 0 && a.first != s.frag {
		a.stop()
	}
	if a.n == 0 {
		a.first = s.frag
	}
	a.schedule(s.c)
	j := a.jobs[0]
	<-j.done
	s.take(j)
	s.in += int64(j.n)
	if j.err == nil && s.in < fr.size {
		j.err = corrupt(fr.off, "##DZ", "inflates to %d of %d bytes", s.in, fr.size)
	}
	copy(a.jobs, a.jobs[1:])
	a.jobs[len(a.jobs)-1] = j
	a.first, a.n = a.first+1, a.n-1
	return j.err
}

// schedule starts jobs for the fragments that follow, up to one that is not to be inflated ahead.
func (a *ahead) schedule(c *chain) {
	for a.n < len(a.jobs) {
		fr, err := c.at(a.first + a.n)
		if err != nil || fr.zip == zipNone || fr.size > wholeBlock {
			return
		}
		j := a.jobs[a.n]
		j.fr = *fr
		j.buf = grow(j.buf, headroom+int(fr.size))
		a.n++
		go j.run(c.src)
	}
}

// take makes the block the window, with what was left of the last one in front. The job gets the old window's memory.
func (s *stream) take(j *job) {
	left := s.w - s.r
	s.work += int64(j.n)
	if left > headroom || s.keep > 0 {
		copy(s.room(j.n), j.buf[headroom:headroom+j.n])
		s.w += j.n
		return
	}
	start := headroom - left
	copy(j.buf[start:], s.buf[s.r:s.w])
	s.base += int64(s.r) - int64(start)
	s.buf, j.buf = j.buf, s.buf
	s.r, s.low, s.w = start, start, headroom+j.n
}

// stop waits for all jobs and forgets what they have done.
func (a *ahead) stop() {
	for _, j := range a.jobs[:a.n] {
		<-j.done
	}
	a.n = 0
}
