package main

import (
	"context"
	"log"
	"os"
	"path/filepath"
	"time"
)

func Example() {
	dir, err := os.MkdirTemp("", "hello")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := run(ctx, filepath.Join(dir, "hello.db")); err != nil {
		log.Fatal(err)
	}
	// Output:
	// welcome, user 42
	// welcome, user 42
}
