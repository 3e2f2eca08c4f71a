package jetstream

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What an embedded server may store follows the size of the disk, not what happened to be free when it started.
func TestAnEmbeddedServerMayFillItsDisk(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	want := int64(fs.Blocks) * int64(fs.Bsize)
	for _, c := range []struct {
		config EmbeddedConfig
		want   int64
	}{
		{EmbeddedConfig{Dir: filepath.Join(dir, "not", "made", "yet")}, want},
		{EmbeddedConfig{Dir: dir}, want},
		{EmbeddedConfig{Dir: dir, MaxStoreBytes: 1 << 20}, 1 << 20},
	} {
		if got := serverOptions(c.config).JetStreamMaxStore; got != c.want {
			t.Errorf("%+v: may store %d bytes, want %d", c.config, got, c.want)
		}
	}
}
