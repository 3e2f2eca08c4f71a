package jetstream

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What an embedded server may store follows the size of the disk, also before its folder is made, and not what is free; some is
// left to others.
func TestAnEmbeddedServerMayNearlyFillItsDisk(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	size := int64(fs.Blocks) * int64(fs.Bsize)
	for _, d := range []string{dir, filepath.Join(dir, "not", "made", "yet")} {
		if got := serverOptions(EmbeddedConfig{Dir: d}).JetStreamMaxStore; got <= size/2 || got >= size {
			t.Errorf("%s: may store %d of %d bytes", d, got, size)
		}
	}
	if got := serverOptions(EmbeddedConfig{Dir: dir, MaxStoreBytes: 1 << 20}).JetStreamMaxStore; got != 1<<20 {
		t.Errorf("may store %d bytes where 1 MiB was asked for", got)
	}
}
