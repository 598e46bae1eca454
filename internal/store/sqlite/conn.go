package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"modernc.org/sqlite"
)

// conn is one connection to a database, spoken to through the driver's own interfaces: what database/sql adds (a pool,
// conversions, a second copy of every blob) costs more than the statements of a fold do, and the store wants to say
// itself which connection writes.
//
// A conn is for one goroutine at a time. Contexts that can be cancelled make the driver start a goroutine per
// statement, so calls that are short by construction take none.
type conn struct {
	raw   driver.Conn
	stmts map[string]*stmt // every statement that was prepared, by its SQL
}

// open opens a connection. The busy timeout is first, so that the pragmas after it wait too.
func open(ctx context.Context, path string, pragmas ...string) (*conn, error) {
	params := url.Values{"_busy_timeout": {"10000"}, "_pragma": pragmas}
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: params.Encode()}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	raw, err := connector.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, classify(err))
	}
	return &conn{raw: raw, stmts: make(map[string]*stmt)}, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = s.raw.Close() // closing the connection reports what matters
	}
	return c.raw.Close()
}

// prepare returns the statement for an SQL text, the same one each time.
func (c *conn) prepare(query string) (*stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	raw, err := c.raw.Prepare(query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, classify(err))
	}
	s := &stmt{raw: raw}
	c.stmts[query] = s
	return s, nil
}

// exec runs statements that are not worth keeping prepared: pragmas, schema changes, the ends of transactions.
func (c *conn) exec(query string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(context.Background(), query, nil)
	return classify(err)
}

// execute prepares and runs a statement and returns how many rows it changed.
func (c *conn) execute(query string, args ...driver.Value) (changed int64, err error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	for _, arg := range args {
		s.bind(arg)
	}
	return s.exec()
}

// integer returns the first column of the first row, 0 when there is none.
func (c *conn) integer(query string, args ...driver.Value) (value int64, err error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	for _, arg := range args {
		s.bind(arg)
	}
	err = s.query(context.Background(), func(row []driver.Value) error {
		value, _ = row[0].(int64)
		return nil
	})
	return value, err
}

// requireWAL fails where SQLite could not switch to write-ahead logging, which it does without an error: on some network file
// systems. Everything here counts on it.
func (c *conn) requireWAL() error {
	s, err := c.prepare("PRAGMA journal_mode")
	if err != nil {
		return err
	}
	return s.query(context.Background(), func(row []driver.Value) error {
		if row[0] != "wal" {
			return fmt.Errorf("the file system does not support write-ahead logging (journal mode is %v)", row[0])
		}
		return nil
	})
}

// transaction runs fn between BEGIN IMMEDIATE and COMMIT, and rolls back when fn or the commit fails.
func (c *conn) transaction(fn func() error) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		err = c.exec("COMMIT")
	}
	if err != nil {
		// Fails where the error has rolled back already, which is as good.
		_ = c.exec("ROLLBACK")
	}
	return err
}

// stmt is a prepared statement with the arguments bound so far.
type stmt struct {
	raw  driver.Stmt
	args []driver.NamedValue
}

// bind adds the next argument.
func (s *stmt) bind(v driver.Value) {
	s.args = append(s.args, driver.NamedValue{Ordinal: len(s.args) + 1, Value: v})
}

func (s *stmt) exec() (changed int64, err error) {
	result, err := s.raw.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	s.unbind()
	if err != nil {
		return 0, classify(err)
	}
	return result.RowsAffected()
}

// query calls fn with every row. The row's slice is reused, the bytes in it are fn's to keep.
func (s *stmt) query(ctx context.Context, fn func(row []driver.Value) error) (err error) {
	rows, err := s.raw.(driver.StmtQueryContext).QueryContext(ctx, s.args)
	s.unbind()
	if err != nil {
		return classify(err)
	}
	defer func() {
		if closeErr := rows.Close(); err == nil {
			err = classify(closeErr)
		}
	}()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(row); err == io.EOF {
			return nil
		} else if err != nil {
			return classify(err)
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// unbind forgets the arguments, and with them the records they point to.
func (s *stmt) unbind() {
	clear(s.args)
	s.args = s.args[:0]
}

// blob returns a column as bytes. The driver gives nil for a blob of no length, which the contract tells apart from no row.
func blob(v driver.Value) []byte {
	if b, ok := v.([]byte); ok && b != nil {
		return b
	}
	return []byte{}
}

// pool is a fixed number of connections that read.
type pool struct {
	idle chan *conn
	done chan struct{} // closed when the pool is
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	select {
	case c := <-p.idle:
		return c, nil
	case <-p.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// check is errClosed once the pool is closed.
func (p *pool) check() error {
	select {
	case <-p.done:
		return errClosed
	default:
		return nil
	}
}

func (p *pool) put(c *conn) { p.idle <- c }

// close waits for the connections that are in use.
func (p *pool) close() (err error) {
	close(p.done)
	for range cap(p.idle) {
		c := <-p.idle
		if closeErr := c.close(); err == nil {
			err = closeErr
		}
	}
	return err
}

func pragma(name string, value int) string { return name + "(" + strconv.Itoa(value) + ")" }
