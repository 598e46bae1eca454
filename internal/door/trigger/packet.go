package trigger

import (
	"encoding/json"
	"strings"
)

// Section 5: payloads and outputs travel as text with a type. What they say is stored as plain JSON, for everybody who shows them, and
// beside it what is needed to give the worker the text again.

// Types of packets.
const (
	typeSuper = "application/super+json"
	typeJSON  = "application/json"
	typeText  = "text/plain"
	typeStore = "application/store"
)

// packet is a value as it is stored.
type packet struct {
	Data json.RawMessage `json:"-"`              // as plain JSON; nil: there is none
	Type string          `json:"type,omitempty"` // as the worker knows it
	Meta json.RawMessage `json:"meta,omitempty"` // of super+json
	Raw  string          `json:"raw,omitempty"`  // the text, if it cannot be made from the others
}

// readPacket takes a packet's text apart.
func readPacket(text *string, typ string) packet {
	p := packet{Type: typ}
	if p.Type == "" {
		p.Type = typeJSON
	}
	if text == nil {
		return p
	}
	switch p.Type {
	case typeSuper:
		var s struct {
			JSON json.RawMessage `json:"json"`
			Meta json.RawMessage `json:"meta"`
		}
		if json.Unmarshal([]byte(*text), &s) == nil && s.JSON != nil {
			p.Data, p.Meta = s.JSON, s.Meta
		}
	case typeJSON:
		if json.Valid([]byte(*text)) {
			p.Data = json.RawMessage(*text)
		}
	default:
		p.Data = quote(*text)
	}
	if got, ok := p.text(); !ok || got != *text {
		p.Raw = *text
		if p.Data == nil {
			p.Data = quote(*text)
		}
	}
	return p
}

// text is the packet as the worker knows it; false when there is none.
func (p *packet) text() (string, bool) {
	switch {
	case p.Raw != "":
		return p.Raw, true
	case p.Data == nil:
		return "", false
	}
	switch p.Type {
	case typeSuper:
		var b strings.Builder
		b.WriteString(`{"json":`)
		b.Write(p.Data)
		if p.Meta != nil {
			b.WriteString(`,"meta":`)
			b.Write(p.Meta)
		}
		b.WriteByte('}')
		return b.String(), true
	case typeJSON:
		return string(p.Data), true
	}
	var s string
	err := json.Unmarshal(p.Data, &s)
	return s, err == nil
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always marshals
	return b
}
