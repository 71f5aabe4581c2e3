package stint_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// fuzzQueue is a queue that does not wait for the disk.
func fuzzQueue(f *testing.F) *stint.Queue {
	q, err := stint.Open(filepath.Join(inMemory(f), "queue.db"), &stint.Config{Logger: quiet, Queues: map[string]stint.QueueConfig{"a": {}}})
	require.NoError(f, err)
	q.DB().NoSync = true
	f.Cleanup(func() { require.NoError(f, q.Close()) })
	return q
}

// FuzzOptions: whatever options say, a job is refused with an error that can
// be told, or stored as they say.
func FuzzOptions(f *testing.F) {
	f.Add("default", "a tag", "key", int64(time.Hour), int64(time.Hour), 2, 3, uint16(0xffff))
	f.Add("", "", "", int64(-1), int64(0), 0, 0, uint16(0xffff))
	f.Add("a/b:c", "\x00\u202e\xff", "\xff", int64(1)<<62, int64(1)<<62, 5, -1, uint16(0x1ff))
	q := fuzzQueue(f)
	f.Fuzz(func(t *testing.T, queue, tag, key string, delay, period int64, priority, attempts int, which uint16) {
		d, p := time.Duration(delay), time.Duration(period)
		var unique []stint.UniqueOption
		for bit, o := range []stint.UniqueOption{stint.ByKey(key), stint.ForPeriod(p), stint.WhileWaiting(), stint.Replace(), stint.Debounce(d, p)} {
			if which>>bit&1 == 1 {
				unique = append(unique, o)
			}
		}
		var opts []stint.Option
		for bit, o := range []stint.Option{
			stint.In(d), stint.OnQueue(queue), stint.Tags(tag, tag), stint.ExpiresIn(p), stint.Priority(priority), stint.MaxAttempts(attempts),
			stint.Unique(unique...), stint.At(time.Unix(delay, period)),
		} {
			if which>>(5+bit)&1 == 1 {
				opts = append(opts, o)
			}
		}
		id, err := q.Enqueue(t.Context(), note{7}, opts...)
		if err != nil {
			require.ErrorIs(t, err, stint.ErrBadOption)
			require.Less(t, len(err.Error()), 1000)
			return
		}
		info, err := q.Get(id)
		require.NoError(t, err)
		require.True(t, info.State == stint.Ready || info.State == stint.Scheduled)
		require.JSONEq(t, `{"n":7}`, string(info.Args))
		if which>>6&1 == 1 {
			require.Equal(t, queue, info.Queue)
		}
		if which>>7&1 == 1 {
			require.Equal(t, []string{tag, tag}, info.Tags)
		}
		_, err = json.Marshal(info)
		require.NoError(t, err)
		require.NoError(t, q.Delete(t.Context(), id))
	})
}

// FuzzFilter: whatever a filter says, a listing ends, shows only what matches,
// and goes on where a cursor says.
func FuzzFilter(f *testing.F) {
	f.Add(uint8(0), "", "", "", uint64(0), false, "", 0)
	f.Add(uint8(stint.Scheduled), "a", "note", "x", uint64(0), true, "", 3)
	f.Add(uint8(stint.Ready), "", "other", "", uint64(3), false, "AAAAAAAAAAE", 1)
	f.Add(uint8(99), "\x00", "\xff", "\u202e", uint64(1)<<63, true, "\x00", -1)
	q := fuzzQueue(f)
	for i := range 30 {
		enqueue(f, q, note{i}, stint.OnQueue([]string{"a", "b"}[i%2]), stint.Tags("x"), stint.In(time.Duration(i%3)*time.Hour))
		enqueue(f, q, other{}, stint.Priority(1+i%4))
	}
	enqueueBatch(f, q, between(0, 5))
	for info, err := range q.Jobs(stint.Filter{Limit: 3}) {
		require.NoError(f, err)
		f.Add(uint8(0), "", "", "", uint64(0), false, info.Cursor, 5)
	}
	f.Fuzz(func(t *testing.T, state uint8, queue, kind, tag string, batch uint64, oldest bool, after string, limit int) {
		filter := stint.Filter{State: stint.State(state), Queue: queue, Kind: kind, Tag: tag, Batch: stint.ID(batch), OldestFirst: oldest, After: after, Limit: limit}
		n := 0
		for info, err := range q.Jobs(filter) {
			if err != nil {
				require.True(t, errors.Is(err, stint.ErrBadFilter) || errors.Is(err, stint.ErrNotFound), "%v", err)
				break
			}
			n++
			require.LessOrEqual(t, n, 65, "each job once")
			require.True(t, filter.State == 0 || info.State == filter.State)
			require.True(t, queue == "" || info.Queue == queue)
			require.True(t, kind == "" || info.Kind == kind)
			require.True(t, tag == "" || slices.Contains(info.Tags, tag))
			require.True(t, batch == 0 || info.BatchID == stint.ID(batch))
		}
		require.True(t, limit <= 0 || n <= limit)
	})
}
