package lua

import "math"

// jsonOptions are cjson's settings. A script may change them for its own run.
type jsonOptions struct {
	sparseConvert bool
	sparseRatio   int
	sparseSafe    int
	encodeDepth   int
	decodeDepth   int
	precision     int
	encodeInvalid string // "off", "on" or "null": what becomes of NaN and infinity
	decodeInvalid bool
	keepBuffer    bool
}

var defaultJSON = jsonOptions{sparseRatio: 2, sparseSafe: 10, encodeDepth: 1000, decodeDepth: 1000, precision: 14, encodeInvalid: "off", decodeInvalid: true, keepBuffer: true}

// newJSON makes the library cjson.
func newJSON() *table {
	t := library(natives{
		"encode": jsonEncode, "decode": jsonDecode,
		"encode_sparse_array":     jsonSparse,
		"encode_max_depth":        jsonInt("encode_max_depth", 1, math.MaxInt32, func(o *jsonOptions) *int { return &o.encodeDepth }),
		"decode_max_depth":        jsonInt("decode_max_depth", 1, math.MaxInt32, func(o *jsonOptions) *int { return &o.decodeDepth }),
		"encode_number_precision": jsonInt("encode_number_precision", 1, 14, func(o *jsonOptions) *int { return &o.precision }),
		"encode_keep_buffer":      jsonBool(func(o *jsonOptions) *bool { return &o.keepBuffer }),
		"encode_invalid_numbers":  jsonInvalid,
		"decode_invalid_numbers":  jsonBool(func(o *jsonOptions) *bool { return &o.decodeInvalid }),
		"new":                     func(f *frame) { f.ret(f.e.env.getString("cjson")) },
	}, map[string]value{"null": nullValue, "_NAME": str("cjson"), "_VERSION": str("2.1.0")})
	return t
}

func jsonSparse(f *frame) {
	o := &f.e.run.json
	if v := f.arg(0); !v.isNil() {
		o.sparseConvert = v.truthy()
	}
	o.sparseRatio = f.jsonRange(1, o.sparseRatio, 0, math.MaxInt32)
	o.sparseSafe = f.jsonRange(2, o.sparseSafe, 0, math.MaxInt32)
	f.retMany(boolean(o.sparseConvert), number(float64(o.sparseRatio)), number(float64(o.sparseSafe)))
}

// jsonRange gives an argument that must be within limits, or what it was if there is none.
func (f *frame) jsonRange(i, was, low, high int) int {
	if f.arg(i).isNil() {
		return was
	}
	n := f.int(i)
	if n < low || n > high {
		f.argError(i, "expected integer between %d and %d", low, high)
	}
	return n
}

func jsonInt(_ string, low, high int, field func(*jsonOptions) *int) func(*frame) {
	return func(f *frame) {
		p := field(&f.e.run.json)
		*p = f.jsonRange(0, *p, low, high)
		f.ret(number(float64(*p)))
	}
}

func jsonBool(field func(*jsonOptions) *bool) func(*frame) {
	return func(f *frame) {
		p := field(&f.e.run.json)
		if v := f.arg(0); !v.isNil() {
			*p = v.truthy() && v.ref != "off"
		}
		f.ret(boolean(*p))
	}
}

func jsonInvalid(f *frame) {
	o := &f.e.run.json
	switch v := f.arg(0); {
	case v.isNil():
	case v.ref == "null":
		o.encodeInvalid = "null"
	case v.truthy() && v.ref != "off":
		o.encodeInvalid = "on"
	default:
		o.encodeInvalid = "off"
	}
	if o.encodeInvalid == "null" {
		f.ret(str("null"))
		return
	}
	f.ret(boolean(o.encodeInvalid == "on"))
}

func jsonEncode(f *frame) {
	if len(f.args) != 1 {
		f.argError(0, "expected 1 argument")
	}
	w := jsonWriter{f: f, o: &f.e.run.json}
	b := w.value(f.e.buf[:0], f.args[0])
	f.e.keepBuf(b)
	f.e.charge(len(b))
	f.ret(str(string(b)))
}

type jsonWriter struct {
	f     *frame
	o     *jsonOptions
	depth int
}

func (w *jsonWriter) refuse(v value, why string) {
	w.f.fail("Cannot serialise %s: %s", v.kind(), why)
}

func (w *jsonWriter) value(b []byte, v value) []byte {
	switch r := v.ref.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return w.text(b, r)
	case *table:
		return w.table(b, v, r)
	case *tag:
		switch r {
		case numberTag:
			return w.number(b, v)
		case trueTag:
			return append(b, "true"...)
		case falseTag:
			return append(b, "false"...)
		case nullTag:
			return append(b, "null"...)
		}
	}
	w.refuse(v, "type not supported")
	return b
}

func (w *jsonWriter) number(b []byte, v value) []byte {
	if n := v.num; n != n || math.IsInf(n, 0) {
		switch w.o.encodeInvalid {
		case "null":
			return append(b, "null"...)
		case "off":
			w.refuse(v, "must not be NaN or Inf")
		}
	}
	if w.o.precision == 14 {
		return appendNumber(b, v.num)
	}
	return verb{precision: w.o.precision, conv: 'g'}.float(b, v.num)
}

const hexDigits = "0123456789abcdef"

func (w *jsonWriter) text(b []byte, s string) []byte {
	w.f.e.charge(len(s))
	w.f.e.step(len(s) / 256)
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != '/' && c != 127 {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\', '/':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}

func (w *jsonWriter) table(b []byte, v value, t *table) []byte {
	if w.depth++; w.depth > w.o.encodeDepth {
		w.f.fail("Cannot serialise, excessive nesting (%d)", w.depth)
	}
	w.f.e.step(1)
	if n := w.length(v, t); n > 0 {
		b = append(b, '[')
		for i := 1; i <= n; i++ {
			if i > 1 {
				b = append(b, ',')
			}
			w.f.e.step(1)
			b = w.value(b, t.getInt(i))
		}
		b = append(b, ']')
	} else {
		b = w.object(b, v, t)
	}
	w.depth--
	return b
}

// length is the length of the array that a table is, 0 if it is empty or an object.
func (w *jsonWriter) length(v value, t *table) int {
	if t.live == 0 && len(t.arr) > 0 && !t.arr[0].isNil() && w.dense(t) {
		return len(t.arr)
	}
	most, items := 0, 0
	for at := 0; ; {
		k, _, after := t.next(at)
		if k.isNil() {
			break
		}
		w.f.e.step(1)
		if !k.isNumber() || k.num < 1 || k.num != math.Floor(k.num) || k.num > math.MaxInt32 {
			return 0
		}
		most, items, at = max(most, int(k.num)), items+1, after
	}
	if w.o.sparseRatio > 0 && most > items*w.o.sparseRatio && most > w.o.sparseSafe {
		if !w.o.sparseConvert {
			w.refuse(v, "excessively sparse array")
		}
		return 0
	}
	return most
}

func (w *jsonWriter) dense(t *table) bool {
	for i := range t.arr {
		if t.arr[i].isNil() {
			return false
		}
	}
	return true
}

func (w *jsonWriter) object(b []byte, v value, t *table) []byte {
	b = append(b, '{')
	comma := false
	for at := 0; ; {
		k, val, after := t.next(at)
		if k.isNil() {
			break
		}
		at = after
		if comma {
			b = append(b, ',')
		}
		comma = true
		w.f.e.step(1)
		s, text := k.ref.(string)
		switch {
		case text:
			b = w.text(b, s)
		case k.isNumber():
			b = append(w.number(append(b, '"'), k), '"')
		default:
			w.refuse(v, "table key must be a number or string")
		}
		b = w.value(append(b, ':'), val)
	}
	return append(b, '}')
}
