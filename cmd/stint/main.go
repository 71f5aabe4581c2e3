// Command stint looks into the file of a Stint queue and operates it: also
// while a program works on it, and also when none does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ^C kills
	os.Exit(run(ctx, os.Args[1:], osStreams()))
}
