package stint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

var plainRecord = record{state: Ready, priority: 2, created: 1_790_000_000_000_000, queue: "default", kind: "note", args: []byte(`{"n":1}`)}

// records are one of each kind.
func records() map[string]record {
	with := func(change func(*record)) record {
		r := plainRecord
		change(&r)
		return r
	}
	place := []byte("0123456789abcdef")
	at := time.UnixMicro(1_790_000_000_000_001)
	var long []Attempt
	for i := range maxAttemptsKept {
		long = append(long, Attempt{Number: i + 1, StartedAt: at, Duration: time.Duration(i), Error: strings.Repeat("e", maxErrorSize), Stack: strings.Repeat("s", maxStackSize)})
	}
	return map[string]record{
		"plain":          plainRecord,
		"no args":        with(func(r *record) { r.args = []byte{} }),
		"large args":     with(func(r *record) { r.args = []byte(strings.Repeat("x", 1<<20)) }),
		"long names":     with(func(r *record) { r.queue, r.kind = strings.Repeat("q", 128), strings.Repeat("k", 128) }),
		"binary names":   with(func(r *record) { r.queue, r.kind = "\x00\xff", "\x80" }),
		"unique":         with(func(r *record) { r.place = place }),
		"while waiting":  with(func(r *record) { r.place, r.placeMode = place, whileWaiting }),
		"for a period":   with(func(r *record) { r.place, r.placeMode, r.placeUntil = place, forPeriod, math.MaxInt64 }),
		"tags":           with(func(r *record) { r.tags = []string{"a", "", "ü", strings.Repeat("t", 128)} }),
		"scheduled":      with(func(r *record) { r.state, r.runAt = Scheduled, 1 }),
		"expires":        with(func(r *record) { r.expires = math.MaxInt64 }),
		"completed":      with(func(r *record) { r.state, r.finished = Completed, 1_790_000_000_000_009 }),
		"attempts asked": with(func(r *record) { r.maxAttempts = math.MaxUint32 }),
		"retrying": with(func(r *record) {
			r.state, r.runAt, r.failures, r.attempts = Retrying, 5, 1, []Attempt{{Number: 1, StartedAt: at, Duration: time.Second, Error: "oops"}}
		}),
		"never started": with(func(r *record) { r.attempts = []Attempt{{Error: "x"}} }),
		"snoozed":       with(func(r *record) { r.snoozes = 3 }),
		"crashed":       with(func(r *record) { r.crashes = 2 }),
		"cancelled":     with(func(r *record) { r.cancelled = "cancelled by me" }),
		"dead":          with(func(r *record) { r.state, r.finished, r.reason = Dead, 7, "no" }),
		"logged": with(func(r *record) {
			r.failures, r.attempts = 1, []Attempt{{Number: 1, StartedAt: at, Error: "oops", Log: "time=1 msg=a\ntime=2 msg=b\n"}}
		}),
		"steps": with(func(r *record) {
			r.stash = &stash{steps: []step{{"one", []byte(`[1,"a"]`)}, {"", []byte{}}, {"\xff", []byte("[]")}}, cursor: []byte{}, result: []byte{}}
		}),
		"checkpoint": with(func(r *record) { r.stash = &stash{cursor: []byte(`{"at":7}`), result: []byte{}} }),
		"progress": with(func(r *record) {
			r.stash = &stash{cursor: []byte{}, progress: Progress{Done: -1, Total: math.MaxInt32, Text: "ü"}, result: []byte{}}
		}),
		"stash": with(func(r *record) {
			r.stash = &stash{
				steps: []step{{"one", []byte("[7]")}}, cursor: []byte("7"), progress: Progress{Done: 1, Total: 2, Text: "x"},
				result: []byte("null"), log: "time=1 msg=a\n",
			}
		}),
		"empty stash": with(func(r *record) { r.stash = &stash{cursor: []byte{}, result: []byte{}} }),
		"everything": {
			state: Dead, priority: 4, created: math.MaxInt64, queue: "q", kind: "k", args: []byte("null"),
			place: place, placeMode: forPeriod, placeUntil: 1, tags: []string{"t"},
			runAt: 1, expires: 2, finished: 3, maxAttempts: 4, failures: 5, snoozes: 6, crashes: 7,
			cancelled: "c", reason: "r", attempts: long,
			stash: &stash{steps: []step{{"s", []byte("[0]")}}, cursor: []byte("c"), progress: Progress{Text: "p"}, result: []byte("r"), log: "l"},
		},
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	for name, want := range records() {
		t.Run(name+": comes back as it was", func(t *testing.T) {
			for _, id := range []uint64{1, 255, 1 << 40, math.MaxUint64} {
				b := want.encode(id, nil)
				for _, known := range []laneKey{{}, want.key(), {queue: want.queue, kind: "other"}} {
					var got record
					require.NoError(t, got.decode(id, b, known))
					require.Equal(t, want, got)
				}
				require.Equal(t, b, want.encode(id, nil), "the same record has the same bytes")
			}
		})

		t.Run(name+": any damage is found", func(t *testing.T) {
			const id = 42
			b := want.encode(id, nil)
			rnd := rand.New(rand.NewPCG(1, 2))
			bad := func(b []byte, id uint64) {
				t.Helper()
				var got record
				require.ErrorIs(t, got.decode(id, b, want.key()), errBadRecord)
			}
			for i := range min(8*len(b), 2000, 1<<24/len(b)) {
				bit := i
				if 8*len(b) > 2000 {
					bit = rnd.IntN(8 * len(b))
				}
				damaged := slices.Clone(b)
				damaged[bit/8] ^= 1 << (bit % 8)
				bad(damaged, id)
			}
			for _, size := range []int{0, 1, 4, 5, 6, len(b) / 2, len(b) - 1} {
				bad(b[:size], id)
			}
			bad(append(slices.Clone(b), 0), id)
			bad(b, id+1) // under a foreign key
			bad(b, id|1<<63)
			bad(make([]byte, len(b)), id)
		})
	}

	t.Run("another version is not read", func(t *testing.T) {
		b := plainRecord.encode(1, nil)
		b[0] = recordVersion + 1
		err := new(record).decode(1, b, laneKey{})
		require.ErrorIs(t, err, errBadRecord)
		require.ErrorContains(t, err, "version")
	})

	// A record that is whole, but was written by nobody we know.
	t.Run("fields that make no sense are not read", func(t *testing.T) {
		for name, change := range map[string]func(*record){
			"no state":         func(r *record) { r.state = 0 },
			"an unknown state": func(r *record) { r.state = Dead + 1 },
			"priority 0":       func(r *record) { r.priority = 0 },
			"priority 5":       func(r *record) { r.priority = 5 },
			"an unknown mode":  func(r *record) { r.place, r.placeMode = make([]byte, placeSize), forPeriod+1 },
		} {
			r := plainRecord
			change(&r)
			require.ErrorIs(t, new(record).decode(1, r.encode(1, nil), laneKey{}), errBadRecord, name)
		}
	})

	t.Run("the format stays what it is", func(t *testing.T) {
		// A change here makes the files that exist unreadable.
		b := plainRecord.encode(77, nil)
		require.Equal(t, "0180f11afb0100028080afa2dbffad060764656661756c74046e6f74657b226e223a317d", fmt.Sprintf("%x", b))
		sum := crc32.Checksum(append(b[recordHeader:], 0, 0, 0, 0, 0, 0, 0, 77), castagnoli)
		require.Equal(t, sum, binary.LittleEndian.Uint32(b[1:]), "the checksum is that of the body, then the id")
	})
}

func TestAddAttempt(t *testing.T) {
	t.Parallel()
	r := record{}
	for i := range 25 {
		before := slices.Clone(r.attempts)
		shared := r
		r.addAttempt(Attempt{Number: i + 1, Error: strings.Repeat("ü", maxErrorSize), Stack: "\xff" + strings.Repeat("s", maxStackSize)})
		require.Equal(t, before, shared.attempts, "a record that was copied before keeps its own")
		require.Len(t, r.attempts, min(i+1, maxAttemptsKept))
		last := r.attempts[len(r.attempts)-1]
		require.Equal(t, i+1, last.Number)
		require.LessOrEqual(t, len(last.Error), maxErrorSize)
		require.True(t, utf8.ValidString(last.Error))
		require.True(t, utf8.ValidString(last.Stack))
	}
	require.Equal(t, 16, r.attempts[0].Number)
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    string
		size int
		want string
	}{
		{"", 0, ""}, {"abc", 3, "abc"}, {"abc", 2, "ab"}, {"abc", 0, ""}, {"aüb", 2, "a"}, {"aüb", 3, "aü"},
		{"€", 2, ""}, {"a\xffb", 10, "a\uFFFDb"}, {"\xc3", 3, "\uFFFD"}, {"\xc3", 2, ""},
	} {
		require.Equal(t, c.want, cut(c.s, c.size), "%q %d", c.s, c.size)
	}
	for size := range 40 {
		for _, s := range []string{strings.Repeat("\x80", 30), strings.Repeat("\xff€", 10), "日本語日本語日本語"} {
			got := cut(s, size)
			require.True(t, utf8.ValidString(got))
			require.LessOrEqual(t, len(got), size, "%q %d", s, size)
		}
	}
}

func TestMicros(t *testing.T) {
	t.Parallel()
	require.Zero(t, micros(time.Time{}))
	require.True(t, fromMicros(0).IsZero())
	for _, at := range []time.Time{
		time.UnixMicro(1), time.UnixMicro(1_790_000_000_123_456), time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		require.True(t, at.Equal(fromMicros(micros(at))), "%v", at)
		require.Equal(t, micros(at)+1, micros(at.Add(1)), "up, so that nothing is early")
		require.Equal(t, micros(at)+1, micros(at.Add(999)))
		require.Equal(t, micros(at)+1, micros(at.Add(1000)))
	}
	require.EqualValues(t, 1, micros(time.Unix(0, 0)), "0 is taken")
	require.EqualValues(t, 1, micros(time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC)))
	for _, at := range []time.Time{time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0), time.Unix(math.MaxInt64>>1, 0)} {
		got := fromMicros(micros(at))
		for _, zone := range []int{-12, 0, 14} {
			require.Equal(t, 9999, got.In(time.FixedZone("", zone*3600)).Year(), "%v", at)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range records() {
		if len(r.args) < 1000 && len(r.attempts) < 2 {
			f.Add(uint64(42), r.encode(42, nil)[recordHeader:])
		}
	}
	f.Add(uint64(1), []byte{})
	f.Add(uint64(1), []byte{1, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(uint64(1), []byte{1, partStash, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(uint64(1), []byte{1, partStash, 2, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(uint64(1), []byte{1, 2, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, id uint64, body []byte) {
		// With a good checksum, or none would come through.
		b := append([]byte{recordVersion, 0, 0, 0, 0}, body...)
		sealRecord(b, bodySum(b), id)
		var r record
		if err := r.decode(id, b, laneKey{}); err != nil {
			if !errors.Is(err, errBadRecord) {
				t.Fatal(err)
			}
			return
		}
		again := r.encode(id, nil)
		var r2 record
		if err := r2.decode(id, again, r.key()); err != nil {
			t.Fatalf("what we wrote ourselves cannot be read: %v", err)
		}
		// A time before 1970 comes back as 1970, so one more round.
		var r3 record
		third := r2.encode(id, nil)
		if err := r3.decode(id, third, laneKey{}); err != nil || !reflect.DeepEqual(r2, r3) {
			t.Fatalf("%v\n%+v\n%+v", err, r2, r3)
		}
		if e := new(record); e.decode(id+1, again, laneKey{}) == nil {
			t.Fatal("read under a foreign key")
		}
	})
}

// block is a ready entry, and ids what a naive reading finds in it.
func blockOf(number uint64, bits uint64) (k, v []byte, ids []uint64) {
	for i := range uint64(64) {
		if bits&(1<<i) != 0 {
			ids = append(ids, number*64+i)
		}
	}
	return appendBlock(nil, 7, number), binary.BigEndian.AppendUint64(nil, bits), ids
}

func checkBlock(t testing.TB, number, bits, bound uint64, stopAfter int) {
	k, v, ids := blockOf(number, bits)
	visit := func(got *[]uint64) func(uint64) bool {
		return func(id uint64) bool { *got = append(*got, id); return len(*got) != stopAfter }
	}
	limited := func(ids []uint64) ([]uint64, bool) {
		if stopAfter > 0 && len(ids) >= stopAfter {
			return ids[:stopAfter], false
		}
		return ids, true
	}
	// A bound in another block does not touch this one: the walk never comes
	// to one before its start.
	up := slices.DeleteFunc(slices.Clone(ids), func(id uint64) bool { return bound/64 == number && id < bound })
	down := slices.DeleteFunc(slices.Clone(ids), func(id uint64) bool { return bound/64 == number && id >= bound })
	slices.Reverse(down)

	var got []uint64
	want, more := limited(up)
	if m := readyIDs(k, v, bound, visit(&got)); m != more || !slices.Equal(got, want) {
		t.Fatalf("readyIDs of %x in block %d from %d: %v %v, want %v %v", bits, number, bound, got, m, want, more)
	}
	got = nil
	want, more = limited(down)
	if m := readyIDsDown(k, v, bound, visit(&got)); m != more || !slices.Equal(got, want) {
		t.Fatalf("readyIDsDown of %x in block %d below %d: %v %v, want %v %v", bits, number, bound, got, m, want, more)
	}
}

func TestReadyBlocks(t *testing.T) {
	t.Parallel()
	patterns := []uint64{0, 1, 1 << 63, 1<<63 | 1, math.MaxUint64, 0xaaaa_aaaa_aaaa_aaaa, 0x8000_0001_8000_0001, 6}
	for _, bits := range patterns {
		for _, number := range []uint64{0, 1, 1 << 30, 1<<58 - 1} {
			for bit := range uint64(64) {
				for _, stopAfter := range []int{0, 1, 2} {
					checkBlock(t, number, bits, number*64+bit, stopAfter)
				}
			}
			checkBlock(t, number, bits, 0, 0)
			checkBlock(t, number, bits, math.MaxUint64, 0)
		}
	}
	// Not ours: passed over, not read.
	for _, size := range []int{0, 7, 9} {
		require.True(t, readyIDs(appendBlock(nil, 7, 0), make([]byte, size), 0, func(uint64) bool { t.Fatal("visited"); return false }))
		require.True(t, readyIDsDown(appendBlock(nil, 7, 0), make([]byte, size), 0, func(uint64) bool { t.Fatal("visited"); return false }))
	}
}

func FuzzReadyBlocks(f *testing.F) {
	f.Add(uint64(0), uint64(1), uint64(0), 0)
	f.Add(uint64(3), uint64(math.MaxUint64), uint64(200), 5)
	f.Add(uint64(1)<<58-1, uint64(1)<<63, uint64(math.MaxUint64), 1)
	f.Fuzz(func(t *testing.T, number, bits, bound uint64, stopAfter int) {
		checkBlock(t, number%(1<<58), bits, bound, max(stopAfter, 0))
	})
}

func TestRunningList(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, 2, 127, 128, 129, 1000} {
		for _, suspects := range []int{0, 1, 20} {
			for _, alone := range []bool{false, true} {
				if alone && size == 0 {
					continue // the lone one is running
				}
				c := &committer{suspects: map[uint64]*lane{}}
				var running, suspected []uint64
				for range size {
					id := rnd.Uint64() >> rnd.IntN(64)
					c.running = append(c.running, &execution{id: id})
					running = append(running, id)
				}
				for range suspects {
					id := rnd.Uint64()
					c.suspects[id] = &lane{}
					suspected = append(suspected, id)
				}
				if alone {
					c.alone = c.running[0]
				}
				gotAlone, gotRunning, gotSuspects, ok := decodeRunning(c.encodeRunning())
				require.True(t, ok)
				require.Equal(t, alone, gotAlone)
				require.Equal(t, running, gotRunning)
				require.ElementsMatch(t, suspected, gotSuspects)
			}
		}
	}

	c := &committer{}
	for id := range uint64(10) {
		c.running = append(c.running, &execution{id: 1000 + id})
	}
	require.Len(t, c.encodeRunning(), 2+2+9, "neighbours take a byte each")
	require.Len(t, (&committer{}).encodeRunning(), 2, "recoverOrphans takes two bytes for nothing")

	for name, b := range map[string][]byte{
		"nothing": {}, "no number": {0}, "one too few": {0, 2, 2}, "a number without end": {0, 0x80}, "an id without end": {0, 1, 0x80}, "a huge number": {0, 0xff, 0xff, 0xff, 0xff, 0x0f, 2},
	} {
		_, _, _, ok := decodeRunning(b)
		require.False(t, ok, name)
	}
}

func FuzzRunningList(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add([]byte{1, 2, 2, 2, 9})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		alone, running, suspects, ok := decodeRunning(b)
		if !ok {
			return
		}
		c := &committer{suspects: map[uint64]*lane{}}
		for _, id := range running {
			c.running = append(c.running, &execution{id: id})
		}
		for _, id := range suspects {
			c.suspects[id] = nil
		}
		if alone {
			c.alone = &execution{}
		}
		alone2, running2, suspects2, ok := decodeRunning(c.encodeRunning())
		slices.Sort(suspects)
		slices.Sort(suspects2)
		if !ok || alone != alone2 || !slices.Equal(running, running2) || !slices.Equal(slices.Compact(suspects), suspects2) {
			t.Fatalf("%v %v %v, then %v %v %v", alone, running, suspects, alone2, running2, suspects2)
		}
	})
}
