package cron

import (
	_ "embed" // zones.txt
	"strings"
)

//go:generate go run zones_gen.go

//go:embed zones.txt
var zoneNames string

// Zones are the names of time zones that people choose from, UTC among them, in the order of the alphabet. Schedules also understand other names that
// the database has.
func Zones() []string { return strings.Fields(zoneNames) }
