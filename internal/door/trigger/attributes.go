package trigger

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The SDK flattens objects into attributes: {"a":{"b":[1]}} is "a.b.[0]" = 1.

const (
	attrNull     = "$@null(("
	attrCircular = "$@circular(("
)

// maxIndex bounds the places of all lists of a span, and maxParts the length of a path, that attributes can name.
const (
	maxIndex = 10_000
	maxParts = 64
)

// unflatten puts the attributes at or below a name together again; all of them for "". False when there are none.
func unflatten(attrs map[string]any, name string) (any, bool) {
	root := map[string]any{}
	room := maxIndex
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		rest := k
		if name != "" {
			var below bool
			if rest, below = strings.CutPrefix(k, name+"."); !below {
				if k != name {
					continue
				}
				rest = ""
			}
		}
		v := attrs[k]
		switch v {
		case attrNull:
			v = nil
		case attrCircular:
			v = "[Circular]"
		}
		path := []string{""}
		if rest != "" {
			path = append(path, strings.Split(rest, ".")...)
		}
		if len(path) > maxParts || !put(root, path, v, &room) {
			// Two that do not go together, like "a" and "a.b": this one stays as it came.
			if top, ok := root[""].(map[string]any); ok {
				top[rest] = v
			}
		}
	}
	v, ok := root[""]
	return v, ok
}

// put sets what is at a path, making what leads there; false when something else is there already. room is how many places lists may still get.
func put(m map[string]any, path []string, v any, room *int) bool {
	name := path[0]
	old, has := m[name]
	if len(path) == 1 {
		if has {
			return false
		}
		m[name] = v
		return true
	}
	i, isIndex := index(path[1])
	if isIndex {
		list, isList := old.([]any)
		if has && !isList || i-len(list) >= *room {
			return false
		}
		for len(list) <= i {
			list = append(list, nil)
			*room--
		}
		// A place in a list is as one in a map of its own.
		slot := map[string]any{}
		if list[i] != nil {
			slot[""] = list[i]
		}
		ok := put(slot, append([]string{""}, path[2:]...), v, room)
		list[i] = slot[""]
		m[name] = list
		return ok
	}
	below, isMap := old.(map[string]any)
	if has && !isMap {
		return false
	}
	if below == nil {
		below = map[string]any{}
	}
	m[name] = below
	return put(below, path[1:], v, room)
}

func index(part string) (int, bool) {
	if len(part) < 3 || part[0] != '[' || part[len(part)-1] != ']' {
		return 0, false
	}
	i, err := strconv.Atoi(part[1 : len(part)-1])
	return i, err == nil && i >= 0 && i < maxIndex
}
