package resp

import (
	"context"
	"net"
)

// Dial connects to the door from within the process, as the default user, whatever its password: for the dashboard, which has let its user in itself.
func (d *Door) Dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	c := d.newConn(theirs)
	c.user, c.parser.stranger = defaultUser, false
	if !d.admit(c) {
		_ = ours.Close()
		return nil, net.ErrClosed
	}
	return ours, nil
}
