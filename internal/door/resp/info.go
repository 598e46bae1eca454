package resp

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"

	"github.com/quartetjobs/quartet/internal/keyspace"
	"github.com/quartetjobs/quartet/internal/keyspace/lua"
	"github.com/quartetjobs/quartet/internal/keyspace/reply"
)

// version is the version of Redis that the door behaves like.
const version = lua.Version

func runID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// random is the chance that the keyspace gets.
func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// infoSections are the sections of INFO in their order; those that INFO without arguments leaves out are marked.
var infoSections = []struct {
	name  string
	extra bool
	write func(d *Door, b *strings.Builder)
}{
	{"server", false, (*Door).infoServer},
	{"clients", false, (*Door).infoClients},
	{"memory", false, (*Door).infoMemory},
	{"persistence", false, (*Door).infoPersistence},
	{"stats", false, (*Door).infoStats},
	{"replication", false, (*Door).infoReplication},
	{"cpu", false, (*Door).infoCPU},
	{"modules", false, func(*Door, *strings.Builder) {}},
	{"commandstats", true, (*Door).infoCommands},
	{"errorstats", false, func(*Door, *strings.Builder) {}},
	{"cluster", false, func(_ *Door, b *strings.Builder) { b.WriteString("cluster_enabled:0\r\n") }},
	{"keyspace", false, (*Door).infoKeyspace},
}

// infoNow asks the keyspace for its numbers first.
func infoNow(c *conn, args []string) {
	n := c.place()
	err := c.door.host.Post(&keyspace.Count{}, func(r keyspace.Result, err error) {
		if err == nil && r.Stats != nil {
			c.door.counts.Store(r.Stats)
		}
		c.answer(n, c.door.info(args[1:]))
	})
	if err != nil { // it recovers, or is busy: what is known will do
		c.answer(n, c.door.info(args[1:]))
	}
}

// info writes the sections that are asked for.
func (d *Door) info(sections []string) reply.Reply {
	want := map[string]bool{}
	for _, s := range sections {
		want[strings.ToLower(s)] = true
	}
	all := want["all"] || want["everything"]
	usual := len(sections) == 0 || want["default"]
	var b strings.Builder
	for _, s := range infoSections {
		if !all && !want[s.name] && (!usual || s.extra) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + strings.ToUpper(s.name[:1]) + s.name[1:] + "\r\n")
		s.write(d, &b)
	}
	return reply.Reply{Kind: reply.Verbatim, Str: b.String()}
}

func (d *Door) numbers() *keyspace.Stats {
	if s := d.counts.Load(); s != nil {
		return s
	}
	return &keyspace.Stats{}
}

func (d *Door) infoServer(b *strings.Builder) {
	up := int(d.cfg.Now().Sub(d.start).Seconds())
	fmt.Fprintf(b, "redis_version:%s\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0\r\nredis_mode:standalone\r\nos:%s %s\r\narch_bits:64\r\n", version, runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(b, "process_id:%d\r\nrun_id:%s\r\ntcp_port:%d\r\nserver_time_usec:%d\r\nuptime_in_seconds:%d\r\nuptime_in_days:%d\r\nhz:10\r\nconfigured_hz:10\r\nexecutable:quartet\r\nconfig_file:\r\n",
		os.Getpid(), d.runID, d.port, d.cfg.Now().UnixMicro(), up, up/86400)
}

func (d *Door) infoClients(b *strings.Builder) {
	listen := 0
	for _, c := range d.each() {
		c.mu.Lock()
		if c.subscriptions() > 0 {
			listen++
		}
		c.mu.Unlock()
	}
	fmt.Fprintf(b, "connected_clients:%d\r\ncluster_connections:0\r\nmaxclients:%d\r\nclient_recent_max_input_buffer:0\r\nclient_recent_max_output_buffer:0\r\nblocked_clients:%d\r\ntracking_clients:0\r\npubsub_clients:%d\r\nclients_in_timeout_table:%d\r\n",
		d.Clients(), d.cfg.Limits.Clients, d.numbers().Blocked, listen, d.numbers().Blocked)
}

func (d *Door) infoMemory(b *strings.Builder) {
	used, total := d.memory()
	peak := d.stats.notePeak(used)
	fmt.Fprintf(b, "used_memory:%d\r\nused_memory_human:%s\r\nused_memory_rss:%d\r\nused_memory_rss_human:%s\r\nused_memory_peak:%d\r\nused_memory_peak_human:%s\r\nused_memory_dataset:%d\r\n",
		used, human(used), total, human(total), peak, human(peak), d.numbers().Used)
	fmt.Fprintf(b, "total_system_memory:0\r\ntotal_system_memory_human:0B\r\nused_memory_lua:0\r\nused_memory_scripts:0\r\nnumber_of_cached_scripts:%d\r\nmaxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:%s\r\nmem_fragmentation_ratio:%.2f\r\nmem_allocator:go\r\nlazyfree_pending_objects:%d\r\n",
		d.numbers().Scripts, d.setting("maxmemory-policy"), float64(total)/float64(max(used, 1)), d.numbers().Garbage)
}

// memory is what the heap holds and what the process has of the system.
func (d *Door) memory() (used, total uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}

func human(n uint64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%dB", n)
	case n < 1<<20:
		return fmt.Sprintf("%.2fK", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.2fM", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2fG", float64(n)/(1<<30))
}

func (d *Door) infoPersistence(b *strings.Builder) {
	fmt.Fprintf(b, "loading:%d\r\nasync_loading:0\r\n", d.loading())
	if d.loading() == 1 {
		b.WriteString("loading_eta_seconds:1\r\n")
	}
	fmt.Fprintf(b, "rdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:0\r\nrdb_last_save_time:%d\r\nrdb_last_bgsave_status:ok\r\naof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\nquartet_durability:%s\r\n",
		d.cfg.Now().Unix(), d.setting("appendfsync"))
}

// loading is 1 until the keyspace can be used.
func (d *Door) loading() int {
	if _, err := d.host.Store(); err != nil {
		return 1
	}
	return 0
}

func (d *Door) infoStats(b *strings.Builder) {
	d.pub.mu.Lock()
	channels, patterns := len(d.pub.channels), len(d.pub.patterns)
	d.pub.mu.Unlock()
	fmt.Fprintf(b, "total_connections_received:%d\r\ntotal_commands_processed:%d\r\ninstantaneous_ops_per_sec:%d\r\ntotal_net_input_bytes:%d\r\ntotal_net_output_bytes:%d\r\nrejected_connections:%d\r\nexpired_keys:0\r\nevicted_keys:0\r\nkeyspace_hits:0\r\nkeyspace_misses:0\r\npubsub_channels:%d\r\npubsub_patterns:%d\r\ntotal_error_replies:0\r\n",
		d.stats.connections.Load(), d.stats.commands.Load(), d.stats.opsPerSecond(d.cfg.Now()), d.stats.in.Load(), d.stats.out.Load(), d.stats.rejected.Load(), channels, patterns)
}

func (d *Door) infoReplication(b *strings.Builder) {
	fmt.Fprintf(b, "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\nmaster_replid:%s\r\nmaster_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\nrepl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n", d.runID)
}

func (d *Door) infoCPU(b *strings.Builder) {
	samples := []metrics.Sample{{Name: "/cpu/classes/user:cpu-seconds"}}
	metrics.Read(samples)
	fmt.Fprintf(b, "used_cpu_sys:0.000000\r\nused_cpu_user:%f\r\nused_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n", samples[0].Value.Float64())
}

func (d *Door) infoCommands(b *strings.Builder) {
	for _, c := range d.stats.costs() {
		fmt.Fprintf(b, "cmdstat_%s:calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=0,failed_calls=%d\r\n", c.name, c.calls, c.usec, float64(c.usec)/float64(c.calls), c.failed)
	}
}

func (d *Door) infoKeyspace(b *strings.Builder) {
	s := d.numbers()
	for db := range s.Keys {
		if s.Keys[db] > 0 {
			fmt.Fprintf(b, "db%d:keys=%d,expires=%d,avg_ttl=0\r\n", db, s.Keys[db], s.Expires[db])
		}
	}
}

func memoryStats(c *conn, _ []string) reply.Reply {
	used, total := c.door.memory()
	return reply.Reply{Kind: reply.Map, Elems: []reply.Reply{
		reply.Of("peak.allocated"), reply.Num(int64(c.door.stats.notePeak(used))), reply.Of("total.allocated"), reply.Num(int64(used)),
		reply.Of("dataset.bytes"), reply.Num(c.door.numbers().Used), reply.Of("fragmentation"), reply.Float(float64(total) / float64(max(used, 1))),
	}}
}
