package trigger

import (
	"encoding/json"
	"errors"
	"testing"
)

// TestRegistrationOutlivesACrash: a version that was stored when the server died, or when storing more failed, is handed its tasks by the next start or by the
// CLI that asks again, whichever comes first.
func TestRegistrationOutlivesACrash(t *testing.T) {
	t.Parallel()
	const body = `{"engine":"V2","metadata":{"contentHash":"h","tasks":[{"id":"told","filePath":"a.ts","exportName":"told"}]}}`
	for name, again := range map[string]func(*bench) error{
		"start": func(b *bench) error { return errors.Join(b.env().load(t.Context()), b.env().settle(t.Context())) },
		"CLI": func(b *bench) error {
			b.json("POST", "/api/v1/projects/proj_a/background-workers", body, 200, nil)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.trigger()
			pool := func() string {
				t.Helper()
				return b.function("told").Pool
			}
			var m manifest
			if err := json.Unmarshal([]byte(body), &m); err != nil {
				t.Fatal(err)
			}
			w := b.env().worker(&m, "20270101.1")
			if err := b.env().keep(t.Context(), w); err != nil { // and no more
				t.Fatal(err)
			}
			if pool() != "" || b.env().workers.isHanded(w.ID) {
				t.Fatal("the crash was not made")
			}
			if err := again(b); err != nil {
				t.Fatal(err)
			}
			if pool() != poolCurrent || !b.env().workers.isHanded(w.ID) {
				t.Errorf("the version was not handed the task: pool %q", pool())
			}
			if list := b.env().workers.list; len(list) != 1 || list[0].ID != w.ID {
				t.Errorf("%d versions", len(list))
			}
		})
	}
}
