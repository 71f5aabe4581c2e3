package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// sure is what commands ask before they destroy something.
type sure struct{ yes, dryRun bool }

func (s *sure) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&s.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&s.dryRun, "dry-run", false, "only tell what would be done")
}

// ask wants a yes from who sits at the terminal. Without one, --yes has to say
// it.
func (a *app) ask(ctx context.Context, s *sure, question string) error {
	if s.yes {
		return nil
	}
	if !a.asks {
		return usage("%s There is nobody to ask here: add --yes to do it, or --dry-run to see", question)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", cleanLine(question))
	answer := make(chan string, 1)
	go func() { // ^C must end this, and a read from a terminal does not
		answer <- a.line()
	}()
	select {
	case text := <-answer:
		if text = strings.ToLower(text); text == "y" || text == "yes" {
			return nil
		}
		return fmt.Errorf("nothing was done")
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return ctx.Err()
	}
}

// line reads one, and nothing behind it.
func (a *app) line() string {
	var text []byte
	for b := make([]byte, 1); ; {
		n, err := a.in.Read(b)
		if n == 1 && b[0] != '\n' {
			text = append(text, b[0])
		}
		if err != nil || n == 1 && b[0] == '\n' {
			return strings.TrimSpace(string(text))
		}
	}
}
