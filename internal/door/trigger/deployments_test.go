package trigger

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestSweepBundles: an archive stays while it may be deployed, and for as long as a deployment has it.
func TestSweepBundles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := t.TempDir()
	b.door.cfg.Bundles = dir
	old := time.Now().Add(-2 * urlLife)
	for name, at := range map[string]time.Time{"deployed.tar.gz": old, "forgotten.tar.gz": old, "fresh.tar.gz": time.Now(), "other": old} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	b.env().deployments.set(&deployment{ID: "deployment_x", Artifact: artifactPrefix + "deployed"})
	if err := b.door.sweepBundles(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"deployed.tar.gz", "fresh.tar.gz", "other"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
	b.door.cfg.Bundles = filepath.Join(dir, "none")
	if err := b.door.sweepBundles(); err != nil {
		t.Errorf("without a directory: %v", err)
	}
}
