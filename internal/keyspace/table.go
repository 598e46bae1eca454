package keyspace

// Specs lists every command in the order in which COMMAND shows them.
var Specs []*Spec

var byName map[string]*Spec

func init() {
	Specs = specs()
	byName = make(map[string]*Spec, len(Specs))
	for _, s := range Specs {
		byName[s.Name] = s
	}
}

func specs() []*Spec {
	return []*Spec{}
}
