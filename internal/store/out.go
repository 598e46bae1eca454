package store

// Out collects what a machine's commands produce until the batch that they are part of is sealed. E is the machine's type of
// effects.
type Out[E any] struct {
	Records []Record // to make durable, in order
	Effects []E      // to release afterwards
}
