package keyspace

import "slices"

// Specs lists every command in the order in which COMMAND shows them.
var Specs []*Spec

var byName map[string]*Spec

// The table names functions that look commands up in it, so it is filled when the package is ready.
func init() {
	Specs = slices.Concat(
		stringSpecs(), hashSpecs(), listSpecs(), setSpecs(), sortedSpecs(), streamSpecs(), keySpecs(), serverSpecs(),
	)
	byName = make(map[string]*Spec, len(Specs))
	for _, s := range Specs {
		byName[s.Name] = s
	}
}
