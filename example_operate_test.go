package stint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/stintq/stint"
)

// A queue that looks after its file: the check, the backup and the compaction
// are jobs like others.
func ExampleQueue_Backup() {
	q, clean := temporary(&stint.Config{CompactAt: 0.5}) // gives space back when half of the file is free
	defer clean()
	dir := filepath.Dir(q.DB().Path())

	stint.Handle(q, func(ctx context.Context, job *stint.Job[Report]) error {
		faults, err := q.Check(ctx)
		if err != nil {
			return err
		}
		for _, fault := range faults {
			fmt.Println(fault.Text) // tell an operator; Repair mends what can be derived
		}
		// The last backup stays until the next one is complete.
		f, err := os.CreateTemp(dir, "backup-*") // which only its owner can read
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := q.Backup(ctx, f); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		return os.Rename(f.Name(), filepath.Join(dir, "backup.db"))
	}, nil)
	if err := q.Periodic("care", "0 3 * * *", Report{"care of the file"}); err != nil {
		fmt.Println(err)
	}

	q.RunSchedule(context.Background(), "care")
	work(q)

	faults, err := stint.CheckFile(filepath.Join(dir, "backup.db"))
	fmt.Println("faults in the backup:", len(faults), err)
	// Output:
	// faults in the backup: 0 <nil>
}

func ExampleQueue_Update() {
	q, clean := temporary(nil)
	defer clean()

	// The application's own buckets, beside those of the queue.
	err := q.Update(func(tx *bolt.Tx) error {
		settings, err := tx.CreateBucketIfNotExists([]byte("settings"))
		if err != nil {
			return err
		}
		return settings.Put([]byte("theme"), []byte("dark"))
	})
	if err != nil {
		fmt.Println(err)
	}
	q.View(func(tx *bolt.Tx) error {
		fmt.Printf("%s\n", tx.Bucket([]byte("settings")).Get([]byte("theme")))
		return nil
	})
	// Output: dark
}

func ExampleImport() {
	q, clean := temporary(nil)
	defer clean()
	ctx := context.Background()
	id, _ := q.Enqueue(ctx, Reminder{"water the plants"}, stint.Tags("home"))

	// JSON lines, to read, to filter, or to move to another machine.
	var lines bytes.Buffer
	if err := q.Export(ctx, &lines, nil); err != nil {
		fmt.Println(err)
	}
	for line := range strings.Lines(lines.String()) {
		if strings.Contains(line, `"line":"job"`) {
			fmt.Println(strings.Contains(line, `"water the plants"`))
		}
	}

	path := filepath.Join(filepath.Dir(q.DB().Path()), "elsewhere.db")
	if err := stint.Import(path, &lines, nil, nil); err != nil {
		fmt.Println(err)
	}
	moved, _ := stint.Open(path, nil)
	defer moved.Close()
	info, _ := moved.Get(id)
	fmt.Println(info.Kind, info.Tags)
	// Output:
	// true
	// reminder [home]
}

func ExampleRekey() {
	// 32 random bytes, from wherever your program keeps its secrets.
	key, next := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)

	dir, _ := os.MkdirTemp("", "stint")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "app.db")
	q, _ := stint.Open(path, &stint.Config{Keys: [][]byte{key}})
	q.Enqueue(context.Background(), Reminder{"the doctor at nine"})
	q.Close()

	file, _ := os.ReadFile(path)
	fmt.Println("to be read in the file:", bytes.Contains(file, []byte("doctor")))
	_, err := stint.Open(path, nil)
	fmt.Println("without the key:", errors.Is(err, stint.ErrWrongKey))

	// The next key encrypts, the old one still reads.
	q, _ = stint.Open(path, &stint.Config{Keys: [][]byte{next, key}})
	q.Close()

	// Or all anew at once, so that the old key is no longer needed.
	if err := stint.Rekey(path, [][]byte{next, key}, [][]byte{next}, nil); err != nil {
		fmt.Println(err)
	}
	q, err = stint.Open(path, &stint.Config{Keys: [][]byte{next}})
	fmt.Println(q.Counts().Ready, err)
	q.Close()
	// Output:
	// to be read in the file: false
	// without the key: true
	// 1 <nil>
}
