package resp

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/quartetjobs/quartet/internal/auth"
	"github.com/quartetjobs/quartet/internal/shard"
)

// Name is what logs and metrics call the door.
const Name = "redis"

// Config of a Door. Zero fields take the defaults that are named.
type Config struct {
	// Password is the one of the user "default"; empty: the user needs none.
	Password auth.Secret
	// Users are other users and their passwords. They may do what the default user may.
	Users map[string]auth.Secret
	// Everysec says that replies do not wait for the disk, for CONFIG GET and INFO.
	Everysec bool
	Limits   Limits
	Log      *slog.Logger     // required
	Now      func() time.Time // default time.Now
}

// Limits of connections. Zero fields take the defaults that are named.
type Limits struct {
	Clients     int           // connections at once; default 10,000
	Arguments   int           // of one command; default 1,048,576
	Bulk        int           // bytes of one argument; default 512 MiB
	Query       int           // bytes of one command, or of all that a transaction has queued; default 1 GiB
	Output      int           // bytes of replies that wait for a client to read them; default 256 MiB
	Subscribed  int           // the same for a client that subscribes or monitors; default 32 MiB
	Backlog     int           // bytes of commands behind one that blocks; default 16 MiB
	InFlight    int           // commands of one connection that wait for the keyspace; default 1024
	Idle        time.Duration // without a command, for those that neither block nor subscribe; 0: no limit
	HelloBefore time.Duration // for a client to authenticate when it must; default 1 minute
}

func (l Limits) withDefaults() Limits {
	l.Clients = cmp.Or(l.Clients, 10_000)
	l.Arguments = cmp.Or(l.Arguments, 1<<20)
	l.Bulk = cmp.Or(l.Bulk, 512<<20)
	l.Query = cmp.Or(l.Query, 1<<30)
	l.Output = cmp.Or(l.Output, 256<<20)
	l.Subscribed = cmp.Or(l.Subscribed, 32<<20)
	l.Backlog = cmp.Or(l.Backlog, 16<<20)
	l.InFlight = cmp.Or(l.InFlight, 1024)
	l.HelloBefore = cmp.Or(l.HelloBefore, time.Minute)
	return l
}

// Host is the part of the keyspace's shard that the door uses.
type Host = *shard.Keyspace
