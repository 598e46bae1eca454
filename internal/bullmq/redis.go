package bullmq

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Redis is what this package needs of a client. Replies have the shapes of RESP2: nil, int64, string, or []any of these; a reply that is an
// error is an error, whose text is the server's.
type Redis interface {
	// Do makes one command.
	Do(ctx context.Context, args ...any) (any, error)
	// Pipeline makes several at once. Errors of single commands stand in their places among the replies.
	Pipeline(ctx context.Context, commands [][]any) ([]any, error)
}

// Errors of operations on jobs.
var (
	ErrNotFound    = errors.New("bullmq: there is no such job, queue or scheduler")
	ErrState       = errors.New("bullmq: the job is not in the state that this needs")
	ErrLocked      = errors.New("bullmq: a worker is working on the job")
	ErrScheduled   = errors.New("bullmq: the job is the next run of a scheduler; remove the scheduler instead")
	ErrNotPaused   = errors.New("bullmq: the queue is not paused")
	ErrActive      = errors.New("bullmq: the queue has active jobs")
	errUnknownCode = errors.New("bullmq: a script answered with an unknown code")
)

// InputError says that something was asked for that BullMQ does not take.
type InputError string

func (e InputError) Error() string { return "bullmq: " + string(e) }

//go:embed scripts/*.lua
var sources embed.FS

// script is a script with its prelude and the hash that it is called by.
type script struct{ text, sha string }

var scripts = loadScripts()

func loadScripts() map[string]script {
	prelude, err := sources.ReadFile("scripts/prelude.lua")
	if err != nil {
		panic("BUG: bullmq: " + err.Error())
	}
	files, err := sources.ReadDir("scripts")
	if err != nil {
		panic("BUG: bullmq: " + err.Error())
	}
	all := map[string]script{}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".lua")
		if name == "prelude" {
			continue
		}
		body, err := sources.ReadFile("scripts/" + f.Name())
		if err != nil {
			panic("BUG: bullmq: " + err.Error())
		}
		text := string(prelude) + string(body)
		sum := sha1.Sum([]byte(text))
		all[name] = script{text, hex.EncodeToString(sum[:])}
	}
	return all
}

// run runs a script on a queue. The server gets its text only if it does not know it yet.
func (q *Queue) run(ctx context.Context, name string, args ...any) (any, error) {
	s, ok := scripts[name]
	if !ok {
		panic("BUG: bullmq: no script " + name)
	}
	tail := append([]any{1, q.key(""), q.now().UnixMilli()}, args...)
	v, err := q.redis.Do(ctx, append([]any{"EVALSHA", s.sha}, tail...)...)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		v, err = q.redis.Do(ctx, append([]any{"EVAL", s.text}, tail...)...)
	}
	if err != nil {
		return nil, fmt.Errorf("bullmq: %s in queue %s: %w", name, q.Name, err)
	}
	return v, nil
}

// change runs a script that answers 1, or a code for why it did nothing.
func (q *Queue) change(ctx context.Context, name string, args ...any) error {
	v, err := q.run(ctx, name, args...)
	if err != nil {
		return err
	}
	switch number(v) {
	case 0, 1:
		return nil
	case -1:
		return ErrNotFound
	case -2:
		return ErrLocked
	case -3:
		return ErrState
	case -8:
		return ErrScheduled
	}
	return fmt.Errorf("%w: %s: %v", errUnknownCode, name, v)
}

// Replies.

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return ""
}

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
		f, _ := strconv.ParseFloat(v, 64) // what is no number counts as 0
		return int64(f)
	}
	return 0
}

func list(v any) []any {
	l, _ := v.([]any) // nil, and what should not come, is an empty list
	return l
}

func texts(v any) []string {
	l := list(v)
	out := make([]string, len(l))
	for i := range l {
		out[i] = text(l[i])
	}
	return out
}

// fields reads the reply of HGETALL.
func fields(v any) map[string]string {
	l := list(v)
	out := make(map[string]string, len(l)/2)
	for i := 0; i+1 < len(l); i += 2 {
		out[text(l[i])] = text(l[i+1])
	}
	return out
}

func timeOf(ms string) time.Time {
	n := number(ms)
	if n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
