package stint_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// climber is a long job that ends the process each time it has got on.
type climber struct {
	Rungs int
	Slips bool // it starts at the bottom each time, and stays there
}

func (climber) Kind() string { return "climber" }

func childClimb(args childArgs) {
	q := childOpen(args, &stint.Config{KeepCompleted: time.Hour})
	stint.Handle(q, func(_ context.Context, job *stint.Job[climber]) error {
		rung := 0
		if _, err := job.Resume(&rung); err != nil {
			return err
		}
		if rung == job.Args.Rungs {
			return nil
		}
		if !job.Args.Slips {
			rung++
		}
		if err := job.CommitProgress(func(*bolt.Tx) error { return nil }, rung); err != nil {
			return err
		}
		os.Exit(2)
		return nil
	}, nil)
	say("ready")
	workUntilEmpty(childContext(), q)
}

func init() { childModes["climb"] = childClimb }

// climb starts the process again until the job has ended, and says how.
func climb(t *testing.T, job climber) (info stint.Info, deaths int) {
	path := filepath.Join(t.TempDir(), "queue.db")
	id := enqueueClosed(t, path, job)[0]
	for startChild(t, childArgs{Mode: "climb", File: path}).wait() != 0 {
		deaths++
		require.Less(t, deaths, 20)
	}
	return get(t, openAt(t, path, nil), id), deaths
}

func TestLongJobThatGetsOnIsNoSuspect(t *testing.T) {
	t.Parallel()
	t.Run("however often the process dies on its way", func(t *testing.T) {
		info, deaths := climb(t, climber{Rungs: 8})
		require.Equal(t, stint.Completed, info.State, info.Reason)
		require.Equal(t, 8, deaths)
	})
	t.Run("but one that stays where it is", func(t *testing.T) {
		info, deaths := climb(t, climber{Rungs: 8, Slips: true})
		require.Equal(t, stint.Dead, info.State)
		require.Equal(t, 3, deaths)
	})
}

func TestInterruptionRemembersThatAJobGotOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queue.db")
	id := enqueueClosed(t, path, climber{Rungs: 8})[0]
	require.NotZero(t, startChild(t, childArgs{Mode: "climb", File: path}).wait())

	q := openAt(t, path, nil)
	require.Equal(t, 1, get(t, q, id).Crashes)
	stint.Handle(q, func(ctx context.Context, job *stint.Job[climber]) error {
		for rung := 2; ; rung++ {
			if err := job.Checkpoint(ctx, rung); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}, nil)
	w := begin(q)
	eventually(t, func() bool { return get(t, q, id).Crashes == 0 }, "it has got on")
	w.end()
	require.NoError(t, <-w.result)
	info := get(t, q, id)
	require.Equal(t, stint.Ready, info.State)
	require.Zero(t, info.Crashes)
}
