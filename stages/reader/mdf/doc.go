// Package mdf reads and writes ASAM MDF 4 measurement files (.mf4) as a stream.
//
// Open reads header blocks only and gives a File: its channel groups, and their channels with units, conversions and
// sources; NewFile does so for anything that is an io.ReaderAt, such as a file on a server. A group is a table; ChannelGroup.Read
// opens a reader of some of its columns:
//
//	f, err := mdf.Open("drive.mf4")
//	...
//	defer f.Close()
//	g := f.Group("ego")
//	r, err := g.Read(mdf.ReadOptions{}, g.Channel("EgoSpeed", 0))
//	...
//	for {
//		b, err := r.Next(ctx)
//		if err == io.EOF {
//			break
//		}
//		...
//		for i, t := range b.Times {
//			fmt.Println(t, b.Columns[0].Values[i])
//		}
//	}
//
// Groups of one file have clocks and rates of their own. File.Merge reads several in the order of time: it keeps one block
// of each in memory, however long the file. File.Scan reads whole channels on all cores, in any order. Block.Position and
// GroupReader.Resume go on at a record after a restart, GroupReader.SeekTime starts at a time. Groups of unsorted
// files are read independently of each other too, at the price of a pass each; File.ReadShared reads several in one
// pass. CAN bus logging groups are read as frames by ChannelGroup.Frames, those of LIN, FlexRay
// and Ethernet by ChannelGroup.BusFrames. File.Attachments, File.Events and File.History read what else is in the file. Package
// mdfarrow gives blocks as Arrow record batches.
//
// # What is read
//
// MDF 4.00 to 4.20: sorted and unsorted data groups, plain, deflated and transposed data blocks in any list,
// variable-length values in SD blocks or in groups, column-oriented files, compositions, arrays of values and structures, all
// data types and conversions. Recordings that were cut off (unfinalized files, "UnFinMF") are repaired while reading:
// records are counted up to the end of the file, and an incomplete last one is dropped; File.Recount gives the counts.
// MDF 2 and 3 are refused with ErrOldVersion. A recording that is still being written is followed: File.Grow and
// GroupReader.Continue go on behind what was its end.
//
// # Damage
//
// Whatever is wrong in a file ends in an error, usually a FormatError with offset and block, within time and memory
// linear in the size of the file. All records in front of the damage are delivered before it. With ReadOptions.SkipDamage
// a reader goes on behind a damaged data block, and GroupReader.Losses tells what is missing.
//
// A source that fails, such as a server that is away, is another thing: its error is not a FormatError, nothing is skipped for it, and
// a reader that is told where to go on asks it again. See NewFile.
//
// # Memory
//
// A reader needs a megabyte or two: a window of the data, the columns of one block, and 88 bytes for each data block of
// the file. Inflated blocks and the values of variable-length channels come on top; of these all readers of a File
// together hold no more than Options.Hold says (32 MiB), which is enough for eight groups with blocks of 4 MiB, the most
// that the standard recommends. With more readers blocks are inflated more often, not kept. A reader that is given up
// before its end has to be closed, or it keeps its share. ReadOptions.ColumnsOnly holds only what the columns need.
// ReadOptions.Ahead inflates blocks on other cores, for twice the size of a block each.
package mdf
