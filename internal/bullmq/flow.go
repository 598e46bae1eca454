package bullmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Node is a job of a flow with the jobs that it waits for, or waited: section 6.13.
type Node struct {
	Queue    string // name
	Prefix   string
	ID       string
	Job      *Job // nil: it was removed
	State    State
	Children []*Node
	More     bool // it has children that are not shown
}

// Bounds of a flow that is read.
const (
	flowDepth    = 10
	flowChildren = 50
)

// Flow reads a job with everything below it.
func (q *Queue) Flow(ctx context.Context, id string) (*Node, error) {
	return q.node(ctx, id, flowDepth)
}

func (q *Queue) node(ctx context.Context, id string, depth int) (*Node, error) {
	n := &Node{Queue: q.Name, Prefix: q.Prefix, ID: id}
	var err error
	if n.Job, err = q.Get(ctx, id); err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if n.State, err = q.State(ctx, id); err != nil || n.Job == nil {
		return n, err
	}
	keys, err := q.children(ctx, id)
	if err != nil {
		return nil, err
	}
	if n.More = len(keys) > flowChildren || len(keys) > 0 && depth == 0; n.More {
		keys = keys[:min(len(keys), flowChildren)]
	}
	if depth == 0 {
		return n, nil
	}
	for _, key := range keys {
		child, childID, ok := q.split(key)
		if !ok {
			continue
		}
		c, err := child.node(ctx, childID, depth-1)
		if err != nil {
			return nil, err
		}
		n.Children = append(n.Children, c)
	}
	return n, nil
}

// children are the keys of the jobs that a job waits for, or waited.
func (q *Queue) children(ctx context.Context, id string) ([]string, error) {
	k := q.key(id)
	replies, err := q.redis.Pipeline(ctx, [][]any{
		{"SMEMBERS", k + ":dependencies"}, {"HKEYS", k + ":processed"}, {"HKEYS", k + ":failed"}, {"ZRANGE", k + ":unsuccessful", 0, -1},
	})
	if err != nil {
		return nil, fmt.Errorf("bullmq: children of job %s: %w", id, err)
	}
	var keys []string
	for _, r := range replies {
		keys = append(keys, texts(r)...)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// split reads the key of a job: prefix, queue and an id without colons.
func (q *Queue) split(key string) (*Queue, string, bool) {
	i := strings.LastIndexByte(key, ':')
	if i < 0 {
		return nil, "", false
	}
	j := strings.LastIndexByte(key[:i], ':')
	if j < 0 {
		return nil, "", false
	}
	return &Queue{Prefix: key[:j], Name: key[j+1 : i], redis: q.redis, now: q.now}, key[i+1:], true
}

// ParentOf is the queue and id that a job's Parent names; ok is false when it has none.
func (q *Queue) ParentOf(j *Job) (parent *Queue, id string, ok bool) { return q.split(j.Parent) }
