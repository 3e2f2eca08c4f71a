package mdf_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/milepost-dev/milepost/stages/reader/mdf"
)

// writeDrive writes a short drive: the speed of the car 5 times a second, the gap to the car in front twice.
func writeDrive(path string) {
	w, err := mdf.Create(path, mdf.WriterOptions{
		Start: time.Date(2024, 5, 17, 9, 30, 0, 0, time.UTC), Comment: "proving ground", Compression: mdf.TransposedDeflate})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort() // does nothing after Close
	ego, err := w.AddGroup(mdf.GroupSpec{AcqName: "ego", Channels: []mdf.ChannelSpec{
		{Name: "speed", Unit: "km/h", DataType: mdf.UintLE, Bits: 16, Conversion: mdf.LinearConversion(0, 0.25)}}})
	if err != nil {
		log.Fatal(err)
	}
	lead, err := w.AddGroup(mdf.GroupSpec{AcqName: "lead", Channels: []mdf.ChannelSpec{
		{Name: "gap", Unit: "m", DataType: mdf.FloatLE, Bits: 32, Invalidation: true}}})
	if err != nil {
		log.Fatal(err)
	}
	err = errors.Join(
		ego.Append([]float64{0, 0.2, 0.4, 0.6}, mdf.Samples{Uint: []uint64{200, 202, 204, 203}}),
		lead.Append([]float64{0.1, 0.6}, mdf.Samples{Float: []float64{30.5, 0}, Valid: []bool{true, false}}),
		w.Close())
	if err != nil {
		log.Fatal(err)
	}
}

func drive() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "mdf")
	if err != nil {
		log.Fatal(err)
	}
	path = filepath.Join(dir, "drive.mf4")
	writeDrive(path)
	return path, func() { os.RemoveAll(dir) }
}

func ExampleOpen() {
	path, remove := drive()
	defer remove()
	f, err := mdf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(f.Start.Format(time.RFC3339), f.Comment)
	for _, g := range f.Groups {
		for _, c := range g.Channels {
			fmt.Printf("%s: %d records of %s [%s]\n", g.AcqName, g.Cycles, c.Name, c.Unit)
		}
	}
	// Output:
	// 2024-05-17T09:30:00Z proving ground
	// ego: 4 records of time [s]
	// ego: 4 records of speed [km/h]
	// lead: 2 records of time [s]
	// lead: 2 records of gap [m]
}

func ExampleChannelGroup_Read() {
	path, remove := drive()
	defer remove()
	f, err := mdf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	g := f.Group("ego")
	r, err := g.Read(mdf.ReadOptions{}, g.Channel("speed", 0))
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		for i, t := range b.Times {
			fmt.Println(t, b.Columns[0].Values[i])
		}
	}
	// Output:
	// 0 50
	// 0.2 50.5
	// 0.4 51
	// 0.6 50.75
}

// Two groups in the order of time.
func ExampleFile_Merge() {
	path, remove := drive()
	defer remove()
	f, err := mdf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	var selected []mdf.Selection
	for _, g := range f.Groups {
		selected = append(selected, mdf.Selection{Group: g, Channels: g.Channels[1:2]})
	}
	m, err := f.Merge(mdf.MergeOptions{}, selected...)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for {
		b, err := m.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		col := &b.Columns[0]
		for i, t := range b.Times {
			fmt.Println(t, col.Channel.Name, col.Values[i], col.Valid == nil || col.Valid[i])
		}
	}
	// Output:
	// 0 speed 50 true
	// 0.1 gap 30.5 true
	// 0.2 speed 50.5 true
	// 0.4 speed 51 true
	// 0.6 speed 50.75 true
	// 0.6 gap 0 false
}

func ExampleChannelGroup_Frames() {
	dir, err := os.MkdirTemp("", "mdf")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "bus.mf4")
	w, err := mdf.Create(path, mdf.WriterOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	fw, err := w.AddFrames(mdf.FrameSpec{})
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(
		fw.Append(mdf.Frame{Time: 0.01, Bus: 1, ID: 0xAA, Data: []byte{0x1A, 0x6F}}),
		fw.Append(mdf.Frame{Time: 0.02, Bus: 2, ID: 0x18FEF100, Extended: true, Data: []byte{1, 2, 3}}),
		w.Close()); err != nil {
		log.Fatal(err)
	}
	f, err := mdf.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	r, err := f.Group("CAN_DataFrame").Frames()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	b, err := r.Next(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for i := range b.N {
		fmt.Printf("%.2f bus %d id %#x extended %v: % x\n", b.Times[i], b.Bus[i], b.ID[i], b.Extended[i], b.Payload(i))
	}
	// Output:
	// 0.01 bus 1 id 0xaa extended false: 1a 6f
	// 0.02 bus 2 id 0x18fef100 extended true: 01 02 03
}
