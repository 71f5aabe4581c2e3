package stint_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stintq/stint"
)

// FuzzImport: it never panics, and what it accepts is sound, opens, and comes
// to the same export again.
func FuzzImport(f *testing.F) {
	f.Add([]byte(`{"line":"export","version":1,"format":2,"file":"00112233445566778899aabbccddeeff","at":"2026-01-02T03:04:05Z","last_id":3,"jobs":1,"schedules":0,"batches":0}
{"line":"job","id":1,"state":"ready","queue":"default","kind":"note","priority":2,"args":{"n":1},"enqueued":"2026-01-02T03:04:05Z"}
{"line":"action","at":"2026-01-02T03:04:05Z","by":"Eve","verb":"retry","target":"job 1"}
{"line":"end"}
`))
	f.Fuzz(func(t *testing.T, export []byte) {
		path := filepath.Join(t.TempDir(), "imported.db")
		if stint.Import(path, bytes.NewReader(export), nil, nil) != nil {
			if names := filesBeside(t, path); len(names) > 0 {
				t.Fatal("left behind", names)
			}
			return
		}
		check(t, path)
		q := openAt(t, path, nil)
		var again bytes.Buffer
		if err := q.Export(t.Context(), &again, nil); err != nil {
			t.Fatal(err)
		}
		second := filepath.Join(t.TempDir(), "second.db")
		if err := stint.Import(second, &again, nil, nil); err != nil {
			t.Fatal(err)
		}
		check(t, second)
	})
}
