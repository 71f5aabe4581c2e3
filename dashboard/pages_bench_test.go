package dashboard

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/stintq/stint"
)

// A file with 1,000 kinds and 200 queues.
func BenchmarkPages(b *testing.B) {
	q := testQueue(b, nil)
	q.DB().NoSync = true
	for i := range 1000 {
		if _, err := q.EnqueueJSON(b.Context(), fmt.Sprintf("kind.number.%d", i), []byte("{}"), stint.OnQueue(fmt.Sprintf("queue.%d", i%200))); err != nil {
			b.Fatal(err)
		}
	}
	h := testHandler(q, Admin)
	for _, path := range []string{"/", "/queues", "/queue?name=queue.7", "/kinds", "/kind?name=kind.number.7"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
				if w.Code != 200 {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
