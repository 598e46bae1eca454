package reply

import (
	"math"
	"testing"
)

func TestAppendFloat(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{
		7354149632090112: "7354149632090112", 0.1: "0.10000000000000001", 3.7: "3.7000000000000002", 1e17: "1e+17", -1.5: "-1.5",
		math.Inf(1): "inf", math.Inf(-1): "-inf", 0: "0", math.Copysign(0, -1): "-0", 9.2233720368547758e18: "9.2233720368547758e+18", 1e300: "1.0000000000000001e+300", 1e-7: "9.9999999999999995e-08",
	} {
		if got := string(AppendFloat(nil, f)); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	if got := string(AppendFloat(nil, math.NaN())); got != "nan" {
		t.Errorf("NaN: %s", got)
	}
}
