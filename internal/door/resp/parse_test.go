package resp

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// feed gives a parser its input in pieces and collects the commands.
func feed(p *parser, input string, size int) (commands [][]string, err error) {
	for len(input) > 0 {
		space := p.space()
		n := copy(space, input[:min(size, len(input))])
		p.filled(n)
		input = input[n:]
		for {
			args, ok, err := p.next()
			if err != nil {
				return commands, err
			}
			if !ok {
				break
			}
			commands = append(commands, args)
		}
	}
	return commands, nil
}

func TestParse(t *testing.T) {
	t.Parallel()
	f := func(input string, want ...[]string) {
		t.Helper()
		for _, size := range []int{1, 3, 7, 1 << 20} {
			got, err := feed(newParser(Limits{}.withDefaults()), input, size)
			if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%.60q in pieces of %d: %q, %v", input, size, got, err)
			}
		}
	}
	f("*1\r\n$4\r\nPING\r\n", []string{"PING"})
	f("*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", []string{"GET", ""}, []string{"PING"})
	f("*2\r\n$1\r\n\r\r\n$4\r\n\r\n\x00\xff\r\n", []string{"\r", "\r\n\x00\xff"})
	f("*0\r\n*-1\r\n\r\n  \r\nPING\r\n", []string{"PING"})
	f("set \"a b\" 'c\\'d' \"\\x41\\n\"\r\nget x\n", []string{"set", "a b", "c'd", "A\n"}, []string{"get", "x"})
	big := strings.Repeat("x", 3*bigBulk+5)
	f("*2\r\n$3\r\nSET\r\n$98309\r\n"+big+"\r\n*1\r\n$1\r\na\r\n", []string{"SET", big}, []string{"a"})
}

func TestProtocolErrors(t *testing.T) {
	t.Parallel()
	f := func(input string, stranger bool, want string) {
		t.Helper()
		for _, size := range []int{1, 1 << 20} {
			p := newParser(Limits{}.withDefaults())
			p.stranger = stranger
			_, err := feed(p, input, size)
			var bad protocolError
			if !errors.As(err, &bad) || string(bad) != want {
				t.Errorf("%.40q: %v, want %s", input, err, want)
			}
		}
	}
	f("*1\r\nx4\r\n", false, "expected '$', got 'x'")
	f("*1048577\r\n", false, "invalid multibulk length")
	f("*99999999999999999999\r\n", false, "invalid multibulk length")
	f("*1\r\n$536870913\r\n", false, "invalid bulk length")
	f("*1\r\n$-1\r\n", false, "invalid bulk length")
	f("*11\r\n", true, "unauthenticated multibulk length")
	f("*1\r\n$16385\r\n", true, "unauthenticated bulk length")
	f("a 'b\r\n", false, "unbalanced quotes in request")
	f(strings.Repeat("a", maxLine+2), false, "too big inline request")
	f("*"+strings.Repeat("1", maxLine+2), false, "too big mbulk count string")
	f("*1\r\n$"+strings.Repeat("1", maxLine+2), false, "too big bulk count string")
}

// FuzzParse: however the input is cut, the commands are the same, and the parser never holds more than it was given.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"*1\r\n$4\r\nPING\r\n", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n", "*1\r\n$-1\r\n", "*3\r\n$1\r\n", "a \"b\\x41\"\n", "*1\r\n$536870912\r\nabc"} {
		f.Add(s, 3)
	}
	limits := Limits{}.withDefaults()
	f.Fuzz(func(t *testing.T, input string, size int) {
		whole, errWhole := feed(newParser(limits), input, len(input)+1)
		p := newParser(limits)
		pieces, errPieces := feed(p, input, max(1, size%16))
		if d := cmp.Diff(whole, pieces); d != "" || (errWhole == nil) != (errPieces == nil) {
			t.Errorf("%q: %v, %v\n%s", input, errWhole, errPieces, d)
		}
		if len(p.buf)+cap(p.big) > 4<<10+4*len(input)+bigBulk {
			t.Errorf("%d bytes of input made the parser hold %d", len(input), len(p.buf)+cap(p.big))
		}
	})
}
