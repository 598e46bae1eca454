package taskpool

import (
	"encoding/json"
	"os"
	"sync"
)

// uids are the users of projects: numbers that nobody else on the machine has.
type uids struct {
	mu   sync.Mutex
	file string
	base int
	of   map[string]int
}

func (u *uids) load(file string, base int) {
	u.file, u.base, u.of = file, base, map[string]int{}
	if b, err := os.ReadFile(file); err == nil {
		_ = json.Unmarshal(b, &u.of) // a project that lost its number gets another
	}
}

// user is the user of a project; "" is one that no project has. It is false where projects have none.
func (p *Pool) user(project string) (uint32, bool) {
	u := &p.uids
	if p.cfg.BaseUID == 0 {
		return 0, false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if project == "" {
		return uint32(u.base), true
	}
	n, ok := u.of[project]
	if !ok {
		n = len(u.of) + 1
		u.of[project] = n
		if b, err := json.Marshal(u.of); err == nil {
			_ = os.WriteFile(u.file, b, 0o600) // it is written again with the next project
		}
	}
	return uint32(u.base + n), true
}
