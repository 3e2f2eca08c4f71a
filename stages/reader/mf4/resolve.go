package mf4

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/milepost-dev/milepost/schemas"
	"github.com/milepost-dev/milepost/stages/reader/dbc"
	"github.com/milepost-dev/milepost/stages/reader/mdf"
	"github.com/milepost-dev/milepost/stages/reader/mf4/binding"
)

// A plan is what a binding means in one recording.
type plan struct {
	streams  []*stream // in the order of the tables
	sources  []*source
	messages []*message // that have to occur
}

// A resolver makes a plan. It goes on after a signal that the recording lacks, so that all are told at once.
type resolver struct {
	lib       *library
	file      *mdf.File
	recording string
	keep      bool // damaged recordings

	streams  []*stream
	names    map[string]bool // of streams
	groups   map[*mdf.ChannelGroup]*groupPlan
	uses     []*busUse
	messages []*message
	others   *others
	missing  []missing
}

// A groupPlan is what is read of one channel group.
type groupPlan struct {
	channels []*mdf.Channel
	outputs  []*output
	rows     []recordRow
}

// A busUse is one stream that a bus message feeds.
type busUse struct {
	to      *stream
	row     frameRow
	message *message
	signals []*dbc.Signal // that row needs
}

// resolve finds the signals of a recording. The error is permanent and lists all that it lacks. A recording whose headers are
// damaged lacks what was in the lost groups; what is left is used (the caller has asked for that).
func (lib *library) resolve(f *mdf.File, recording string, keep bool) (*plan, error) {
	r := &resolver{lib: lib, file: f, recording: recording, keep: keep, groups: map[*mdf.ChannelGroup]*groupPlan{}, others: &others{seen: map[dbc.FrameID]bool{}},
		names: map[string]bool{schemas.TableEgo: true, schemas.TableYaw: true, schemas.TableBrake: true}}
	b := lib.effective(recording)
	r.stream(schemas.TableEgo, column{schemas.ColSpeed, "m/s"}, binding.EgoSpeed, b.EgoSpeed, false)
	r.stream(schemas.TableYaw, column{schemas.ColYawRate, "rad/s"}, binding.YawRate, b.YawRate, false)
	r.stream(schemas.TableBrake, column{schemas.ColBrakeOn, ""}, binding.DriverBrake, b.DriverBrake, true)
	for i := range b.Tracks {
		r.track(i, &b.Tracks[i])
	}
	r.target(targetOf(&b))
	r.signals(b.Signals)
	if len(r.uses) > 0 && !slices.ContainsFunc(f.Groups, (*mdf.ChannelGroup).HasFrames) {
		r.miss(missing{signal: r.uses[0].message.signals[0], reason: "no group with CAN frames (CAN_DataFrame)"})
	}
	switch {
	case f.Damage != nil && len(r.groups)+len(r.uses) == 0:
		return nil, openError(recording, f.Damage)
	case f.Damage == nil && len(r.missing) > 0:
		return nil, missingError(recording, f, r.missing)
	}
	return r.plan()
}

// effective is the binding of a recording with the signals of every recording laid under it. Signals named as the AEB
// function's inputs bind these too, unless the binding does: that is what makes the short form sugar (tracks: targetOf).
func (lib *library) effective(recording string) binding.Binding {
	if choice := lib.set.Match(recording); choice != nil {
		return lib.under(lib.set.Bindings[choice.Binding])
	}
	return lib.under(nil)
}

// under lays the signals of every recording under a binding, which may be nil.
func (lib *library) under(chosen *binding.Binding) binding.Binding {
	var b binding.Binding
	if chosen != nil {
		b = *chosen
	}
	b.Signals = maps.Clone(b.Signals)
	for name, r := range lib.signals {
		if b.Signals == nil {
			b.Signals = map[string]binding.Ref{}
		}
		if _, taken := b.Signals[name]; !taken {
			b.Signals[name] = r
		}
	}
	for _, sugar := range []struct {
		name, unit string
		to         **binding.Ref
	}{{binding.EgoSpeed, "m/s", &b.EgoSpeed}, {binding.YawRate, "rad/s", &b.YawRate}, {binding.DriverBrake, "", &b.DriverBrake}} {
		if r, ok := b.Signals[sugar.name]; ok && *sugar.to == nil {
			*sugar.to = inUnit(r, sugar.unit)
		}
	}
	return b
}

// inUnit is a signal in another unit than the one it is wanted in.
func inUnit(r binding.Ref, unit string) *binding.Ref {
	if r.Factor == nil {
		r.Unit = unit
		return &r
	}
	if f, ok := convert(r.Unit, unit); ok {
		f *= *r.Factor
		r.Factor = &f
	}
	return &r
}

// miss takes note of what the recording lacks, once a signal: those that are named as inputs of the AEB function are bound twice.
func (r *resolver) miss(m missing) {
	if !slices.ContainsFunc(r.missing, func(other missing) bool { return other.signal == m.signal }) {
		r.missing = append(r.missing, m)
	}
}

// newStream makes a stream of general signals with a name that no other has.
func (r *resolver) newStream(name string, cols ...column) *stream {
	unique := name
	for i := 2; r.names[unique]; i++ {
		unique = fmt.Sprintf("%s_%d", name, i)
	}
	s := r.fixedStream(unique, cols...)
	s.general = true
	return s
}

// fixedStream makes a stream whose name others keep off.
func (r *resolver) fixedStream(name string, cols ...column) *stream {
	r.names[name] = true
	s := newStream(name, cols...)
	r.streams = append(r.streams, s)
	return s
}

// stream binds a table of one signal.
func (r *resolver) stream(table string, col column, signal string, ref *binding.Ref, flag bool) {
	if ref == nil {
		return
	}
	if ref.IsBus() {
		m, row := r.frame(signal, ref)
		row.flag = flag
		r.use(r.fixedStream(table, col), row, m)
		return
	}
	chans := r.channels(signal, ref)
	if chans == nil {
		return
	}
	p := r.group(chans[0].Group)
	row := p.mean(chans, ref)
	row.factor, row.flag = r.checkUnit(signal, ref, chans[0].Unit), flag
	p.add(r.fixedStream(table, col), row)
}

var trackColumns = []column{{schemas.ColLongDist, "m"}, {schemas.ColLatDist, "m"}, {schemas.ColRelSpeed, "m/s"}, {schemas.ColValid, ""}, {schemas.ColNew, ""}}

// track binds slot i of the object list.
func (r *resolver) track(i int, t *binding.Track) {
	table := schemas.TableTrack(i)
	if t.IsBus() {
		m, row := r.trackFrame(i, t)
		r.use(r.fixedStream(table, trackColumns...), row, m)
		return
	}
	g, bad := r.groupOf([]string{t.LongDist, t.RelSpeed, t.LatDist, t.Valid, t.NewTrack}, "")
	if g == nil {
		if !t.Optional {
			bad.signal = fmt.Sprintf("tracks[%d]", i)
			r.miss(bad)
		}
		return
	}
	p := r.group(g)
	row := newTrackRecord()
	for part, name := range [trackSignalCount]string{trackX: t.LongDist, trackY: t.LatDist, trackRate: t.RelSpeed, trackValid: t.Valid, trackNew: t.NewTrack} {
		if name != "" {
			row.columns[part] = p.column(find(g, name))
		}
	}
	row.scale[trackY].factor = t.LatScale()
	p.add(r.fixedStream(table, trackColumns...), row)
}

// plan puts the sources together: the groups of channels, in the order of the file, then those of frames.
func (r *resolver) plan() (*plan, error) {
	p := &plan{streams: r.streams, messages: r.messages}
	groups := slices.SortedFunc(maps.Keys(r.groups), func(a, b *mdf.ChannelGroup) int { return a.Index - b.Index })
	for len(groups) > 0 {
		var together []*mdf.ChannelGroup
		first := groups[0]
		together, groups = split(groups, func(g *mdf.ChannelGroup) bool { return g == first || !g.Sorted() && g.SharesData(first) })
		if err := r.addGroups(p, together); err != nil {
			return nil, openError(r.recording, fmt.Errorf("group %s: %w", groupName(first), err))
		}
	}
	if len(r.uses) == 0 {
		return p, nil
	}
	for _, g := range r.file.Groups {
		if !g.HasFrames() {
			continue
		}
		if err := r.addFrames(p, g); err != nil {
			return nil, openError(r.recording, fmt.Errorf("group %s: %w", groupName(g), err))
		}
	}
	return p, nil
}

// split takes the elements that belong to the first part out, in order.
func split[T any](all []T, first func(T) bool) (in, out []T) {
	for _, x := range all {
		if first(x) {
			in = append(in, x)
		} else {
			out = append(out, x)
		}
	}
	return in, out
}

func (p *plan) add(g *mdf.ChannelGroup, in blocks, outputs []*output) *source {
	s := &source{number: int32(len(p.sources)), group: g, in: in, outputs: outputs}
	p.sources = append(p.sources, s)
	return s
}

// addGroups adds the source of one group, or those of several that share their data.
func (r *resolver) addGroups(p *plan, groups []*mdf.ChannelGroup) error {
	if len(groups) > 1 {
		shared, err := readShared(r.file, groups, r.groups)
		if err != nil {
			return err
		}
		for i, m := range shared.members {
			m.source = p.add(groups[i], m, m.outputs)
		}
		return nil
	}
	g := groups[0]
	gp := r.groups[g]
	in, err := g.Read(mdf.ReadOptions{BlockRecords: blockRecords(g), ColumnsOnly: true, SkipDamage: r.keep}, gp.channels...)
	if err != nil {
		return err
	}
	p.add(g, &records{in, g.Sorted(), gp.outputs, gp.rows}, gp.outputs)
	return nil
}

func (r *resolver) addFrames(p *plan, g *mdf.ChannelGroup) error {
	in, err := g.ReadFrames(mdf.ReadOptions{SkipDamage: r.keep})
	if err != nil {
		return err
	}
	fr := &frames{r: in, sorted: g.Sorted(), kinds: g.HasIDE(), others: r.others}
	var outputs []*output
	for _, u := range r.uses {
		o := &frameOutput{output: newOutput(u.to), id: u.message.id, row: u.row, rows: dbc.Rows{Signals: u.signals}}
		o.message = u.message
		fr.add(o)
		outputs = append(outputs, o.output)
	}
	p.add(g, fr, outputs)
	return nil
}

// blockRecords bounds a block so that many groups with few rows each do not hold much, and a restart repeats little.
func blockRecords(g *mdf.ChannelGroup) int {
	return int(min(max(64<<10/max(int64(g.DataBytes), 1), 32), maxBlockRecords))
}

const maxBlockRecords = 1024

// groupName is what users call a group.
func groupName(g *mdf.ChannelGroup) string {
	return cmp.Or(g.AcqName, fmt.Sprintf("group%d", g.Index))
}
