package store

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func batchOfAll() []Record {
	return []Record{
		{Table: Live, Key: []byte("key"), Value: []byte("value")},
		{Table: Live, Key: []byte("key")},
		{Table: Live, Key: []byte{}, Value: []byte{}},
		{Table: Runs, Key: []byte("run"), Value: bytes.Repeat([]byte("v"), 70_000), Tags: [3]string{"one", "", "three"}},
		{Table: Runs, Key: []byte("run 2"), Value: []byte("v"), Tags: [3]string{"", "two", ""}, Expires: 1},
		{Table: Steps, Key: []byte("0123456789abcdef step"), Value: []byte("v"), Expires: math.MaxInt64},
		{Table: Idempotency, Key: []byte("deleted"), Tags: [3]string{"a", "b", "c"}, Expires: -1},
	}
}

func TestBatchRoundTrip(t *testing.T) {
	for _, records := range [][]Record{nil, batchOfAll(), batchOfAll()[:1]} {
		data := AppendBatch([]byte("before"), records)
		if !bytes.HasPrefix(data, []byte("before")) {
			t.Errorf("AppendBatch replaced what was there: %q", data[:10])
		}
		got, err := DecodeBatch(nil, data[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records, got); diff != "" {
			t.Errorf("a batch of %d changed on the way (-want +got):\n%s", len(records), diff)
		}
	}
}

func TestFreshIsNotJournalled(t *testing.T) {
	data := AppendBatch(nil, []Record{{Table: Live, Key: []byte("k"), Value: []byte("v"), Fresh: true}})
	got, err := DecodeBatch(nil, data)
	if err != nil || got[0].Fresh {
		t.Errorf("decoded %+v, %v; a batch that is read back may be folded in part", got, err)
	}
}

// This batch was written by the first version. Later ones must read it.
func TestBatchVersion1(t *testing.T) {
	data := []byte("\x01\x02" + "\x06\x00\x03key\x05value" + "\x05\x17\x03run\x01a\x01b\xac\x02")
	want := []Record{
		{Table: Live, Key: []byte("key"), Value: []byte("value")},
		{Table: Runs, Key: []byte("run"), Tags: [3]string{"a", "b"}, Expires: 300},
	}
	if diff := cmp.Diff(string(data), string(AppendBatch(nil, want))); diff != "" {
		t.Errorf("encoding (-want +got):\n%s", diff)
	}
	got, err := DecodeBatch(nil, data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoding (-want +got):\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := AppendBatch(nil, batchOfAll())
	for cut := range good {
		if cut > 200 && cut < len(good)-200 {
			continue // within the long value
		}
		if _, err := DecodeBatch(nil, good[:cut]); err == nil {
			t.Errorf("a batch cut to %d of %d bytes was decoded", cut, len(good))
		}
	}
	f := func(data string, want error) {
		t.Helper()
		if _, err := DecodeBatch(nil, []byte(data)); !errors.Is(err, want) {
			t.Errorf("decode %q: %v, want %v", data, err, want)
		}
	}
	f("", errBadBatch)
	f("\x00\x00", ErrNewer) // no version is 0, so nobody knows what it is
	f("\x02\x00", ErrNewer)
	f("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", errBadBatch)             // a count without records
	f("\x01\x01\x06\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", errBadBatch) // a key without end
	f("\x01\x01\x06\x80\x00\x00", errBadBatch)                                 // an unknown flag
	f("\x01\x01\x63\x01\x00", errBadBatch)                                     // an unknown table
	f("\x01\x01\x07\x01\x00", errBadBatch)                                     // a key that is shorter than a partition
	f("\x01\x00\x00", errBadBatch)                                             // more than was promised
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(AppendBatch(nil, nil))
	f.Add(AppendBatch(nil, batchOfAll()[:3]))
	f.Add(AppendBatch(nil, batchOfAll()[4:]))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := DecodeBatch(nil, data)
		if cap(records) > len(data) {
			t.Fatalf("%d bytes made room for %d records", len(data), cap(records))
		}
		if err != nil {
			return
		}
		// What decodes is what an encoder could have written, up to the spelling of numbers.
		again, err := DecodeBatch(nil, AppendBatch(nil, records))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records, again); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

func BenchmarkAppendBatch(b *testing.B) {
	records := make([]Record, 500)
	for i := range records {
		records[i] = Record{Table: Live, Key: make([]byte, 16), Value: make([]byte, 200)}
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendBatch(buf[:0], records)
	}
	b.SetBytes(int64(len(buf)))
}
