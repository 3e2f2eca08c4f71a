package transport

// A LogUse is what a process does with one log: by it permissions are worked out that are the least it needs. Whoever opens a log
// asks for its size and settings; all else is said here.
type LogUse struct {
	Pipeline, Stage string
	Make            bool // make it, or widen it
	Read            bool // Read, Watch, Subscribe
	Write           bool // Open, Append, Commit
	Trim            bool // Trim
	Purge           bool // Purge
	Take            bool // Subscribe, and settle deliveries
}
