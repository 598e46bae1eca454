package shard

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/store/memory"
)

// oneByOne makes the loop commit by itself what comes next, if it comes alone.
func (b *keyBench) oneByOne() {
	b.t.Helper()
	for range fewSingles + 1 {
		b.do("incr k")
	}
}

// TestSingleCommands: what comes while the loop commits a single command shares the next append, and whoever commits, the order of
// answers is that of the commands.
func TestSingleCommands(t *testing.T) {
	t.Parallel()
	b := setupKeys(t, KeyspaceConfig{})
	b.oneByOne()
	var mu sync.Mutex
	var answers []string
	var waiting sync.WaitGroup
	post := func(n int) {
		for range n {
			waiting.Add(1)
			if err := b.host.Post(command("incr k"), func(r keyspace.Result, err error) {
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, strconv.FormatInt(r.Reply.N, 10))
				waiting.Done()
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	syncing, release := make(chan struct{}), make(chan struct{})
	appends := 0
	b.disk.SetHook(func(_ int, s memory.Step) error {
		if s == memory.AppendSync {
			if appends++; appends == 1 {
				close(syncing)
				<-release
			}
		}
		return nil
	})
	post(1)
	<-syncing
	post(50)
	close(release)
	waiting.Wait()
	b.disk.SetHook(nil)
	if appends != 2 {
		t.Errorf("a command and 50 that came while it was written took %d appends", appends)
	}
	for i := range 200 {
		post(1 + i/7%2)
		if i%5 > 0 {
			waiting.Wait()
		}
	}
	waiting.Wait()
	for i, answer := range answers {
		if want := strconv.Itoa(fewSingles + 2 + i); answer != want {
			t.Fatalf("answer %d is %s, want %s", i, answer, want)
		}
	}
}

// TestSingleCommandFails: it is answered, and the machine recovered, as when the committer had it.
func TestSingleCommandFails(t *testing.T) {
	t.Parallel()
	for step, want := range map[memory.Step]string{memory.AppendWrite: "4", memory.AppendReturn: "5"} {
		b := setupKeys(t, KeyspaceConfig{})
		b.oneByOne()
		b.disk.SetHook(memory.FailNth(step, 1, errors.New("disk trouble")))
		if _, err := b.host.Submit(t.Context(), command("incr k")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v: a command whose commit failed gave %v", step, err)
		}
		<-b.lost
		var r keyspace.Result
		err := ErrUnavailable
		for errors.Is(err, ErrUnavailable) {
			r, err = b.host.Submit(t.Context(), command("get k"))
		}
		if err != nil || r.Reply.Str != want {
			t.Errorf("%v: after recovery k is %q, %v; want %s", step, r.Reply.Str, err, want)
		}
	}
}
