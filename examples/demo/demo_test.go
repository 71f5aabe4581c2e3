package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The demonstration prints an address at which every page is, below its
// prefix, and ends when it is told to.
func TestDemo(t *testing.T) {
	for _, prefix := range []string{"/", "/a/b/"} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			out, in := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				err := run(ctx, []string{"-addr", "127.0.0.1:0", "-prefix", prefix, "-rate", "50"}, in, io.Discard)
				_ = in.CloseWithError(io.EOF)
				ended <- err
			}()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(<-ended)
			}
			address := regexp.MustCompile(`http://\S+`).FindString(line)
			require.True(t, strings.HasSuffix(address, prefix), line)
			for _, page := range []string{"", "jobs", "jobs?state=ready", "queues", "queue?name=mail", "schedules", "schedule?name=cart-cleanup", "batches", "kinds", "kind?name=mail.welcome", "system", "enqueue", "healthz", "metrics", "api/v1/stats"} {
				client := http.Client{Timeout: 10 * time.Second}
				response, err := client.Get(address + page)
				require.NoError(t, err)
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.NoError(t, response.Body.Close())
				require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", page, body)
			}
			stop()
			require.NoError(t, <-ended)
		})
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), []string{"-rate", "0"}, io.Discard, io.Discard), "-rate must be above 0")
	require.ErrorIs(t, run(t.Context(), []string{"-nothing"}, io.Discard, io.Discard), errUsage)
	require.ErrorContains(t, run(t.Context(), []string{"-addr", "127.0.0.1:999999"}, io.Discard, io.Discard), "-addr names another")
}
