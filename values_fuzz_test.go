package stint

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// valueDecoders read what lies in a file, and write what they have read.
var valueDecoders = []struct {
	name   string
	decode func(b []byte) (value any, again []byte) // nil, nil for what makes no sense
}{
	{"lane", func(b []byte) (any, []byte) {
		if len(b) < 4 {
			return nil, nil
		}
		r := laneRow{}
		r.decode(b)
		return r.n, r.encode()
	}},
	{"batch", func(b []byte) (any, []byte) {
		r := batchRow{}
		if !r.decode(b) {
			return nil, nil
		}
		return r, r.encode()
	}},
	{"what a batch is made of", func(b []byte) (any, []byte) {
		m := decodeBatchMade(b)
		return nil, m.encode() // no args may come back as empty ones
	}},
	{"notes of a batch", func(b []byte) (any, []byte) {
		n := decodeBatchNotes(b)
		return n, n.encode()
	}},
	{"pause", func(b []byte) (any, []byte) {
		p := decodePause(b)
		return p, append(binary.AppendVarint(nil, p.since), p.by...)
	}},
	{"quarantine", func(b []byte) (any, []byte) {
		if len(b) >= recordHeader {
			sealRecord(b, bodySum(b), 7)
		}
		e, err := decodeQuarantined(7, b)
		if err != nil {
			return nil, nil
		}
		return nil, encodeQuarantined(7, e.at, e.reason, e.raw) // the reason is made valid UTF-8
	}},
	{"ledger", func(b []byte) (any, []byte) {
		if len(b) >= recordHeader {
			sum := ledgerSum("name", b)
			b[1], b[2], b[3], b[4] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		l, err := decodeLedger("name", b)
		if err != nil {
			return nil, nil
		}
		return nil, l.encode("name") // times before 1970 are compared by FuzzLedger
	}},
	{"record", func(b []byte) (any, []byte) {
		if len(b) >= recordHeader {
			sealRecord(b, bodySum(b), 7)
		}
		r := &record{}
		if r.decode(7, b, laneKey{}) != nil {
			return nil, nil
		}
		return nil, r.encode(7, nil) // as above, by FuzzRecord
	}},
	{"sealed", func(b []byte) (any, []byte) {
		value, ok := openValue([]byte("key"), sealValue([]byte("key"), b))
		if !ok {
			panic("what was sealed cannot be opened")
		}
		_, _ = openValue(value, b)
		return nil, value
	}},
}

// FuzzValues: whatever lies in the file, reading it ends without a panic and
// in a bounded amount of memory, and what made sense is written as it was read.
func FuzzValues(f *testing.F) {
	encoded := func(name string) []byte {
		r := records()[name]
		return r.encode(7, nil)
	}
	seeds := map[string][][]byte{
		"lane":                    {(&laneRow{id: 3, n: tally{1, 2, 3}}).encode()},
		"batch":                   {(&batchRow{flags: batchRepeats, n: batchTally{planned: 3, done: 2}, started: 1, end: 9}).encode()},
		"what a batch is made of": {(&batchMade{name: "n", origin: &origin{schedule: "s", at: 3}, onDone: &onDone{"k", "q", 2, []byte("{}")}}).encode(), (&batchMade{}).encode()},
		"notes of a batch":        {(&batchNotes{cancelledBy: "me", planError: "oops", errors: []string{"a", "b"}}).encode()},
		"pause":                   {append(binary.AppendVarint(nil, 7), "somebody"...)},
		"quarantine":              {encodeQuarantined(7, 3, "why", []byte("raw"))},
		"ledger":                  {fullLedger().encode("name")},
		"record":                  {encoded("plain"), encoded("stash"), encoded("retrying")},
		"sealed":                  {[]byte("keyvalue")},
	}
	for which, d := range valueDecoders {
		require.NotEmpty(f, seeds[d.name])
		for _, seed := range seeds[d.name] {
			f.Add(uint8(which), seed)
		}
		f.Add(uint8(which), []byte{})
		f.Add(uint8(which), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		d := valueDecoders[int(which)%len(valueDecoders)]
		b = bytes.Clone(b) // some make a checksum right
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		value, again := d.decode(b)
		runtime.ReadMemStats(&after)
		// An element of a list takes a byte of the input at least, and 150 in
		// memory, which growing doubles; the rest is what the fuzzer does meanwhile.
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20+500*uint64(len(b)) {
			t.Fatalf("%s: %d bytes take %d in memory", d.name, len(b), got)
		}
		if again == nil {
			return
		}
		value2, third := d.decode(append([]byte(nil), again...))
		require.Equal(t, again, third, d.name)
		if !reflect.DeepEqual(value, value2) {
			t.Fatalf("%s:\n%+v\n%+v", d.name, value, value2)
		}
	})
}
