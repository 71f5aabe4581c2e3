// Package hook lets package stinttest into the engine, for what would be an
// exported name that nobody else has a use for.
package hook

import (
	"context"
	"sync/atomic"
)

// Moment is when the function of OnCommit is called.
type Moment int

const (
	BeforeCommit Moment = iota // all is applied, nothing is written
	AfterCommit                // all is on disk, nobody has been told
)

var commits atomic.Pointer[func(Moment)]

// OnCommit lets fn be called around the commit of each write transaction of
// any queue in this process; nil ends that.
func OnCommit(fn func(Moment)) {
	if fn == nil {
		commits.Store(nil)
		return
	}
	commits.Store(&fn)
}

// Begun is called by the engine when a write transaction has begun, before
// anybody else may ask to be told of its commit.
func Begun(tx interface{ OnCommit(func()) }) {
	if fn := commits.Load(); fn != nil {
		tx.OnCommit(func() { (*fn)(AfterCommit) })
	}
}

// Applied is called by the engine when a transaction is about to be committed.
func Applied() {
	if fn := commits.Load(); fn != nil {
		(*fn)(BeforeCommit)
	}
}

// Trial, given to Run in its context, makes it end by itself as soon as
// nothing is ready or running and all deaths are told. Info is stint.Info.
type Trial[Info any] struct {
	Attempts int        // it begins so many at most
	Ended    func(Info) // if not nil, called for each job that has completed or died, before Run returns

	Began []uint64 // the jobs of all attempts, in their order, when Run has returned
}

type trialKey struct{}

// In is a context for Run.
func (t *Trial[Info]) In(ctx context.Context) context.Context {
	return context.WithValue(ctx, trialKey{}, t)
}

// TrialIn is the trial that a context has, or nil.
func TrialIn[Info any](ctx context.Context) *Trial[Info] {
	t, _ := ctx.Value(trialKey{}).(*Trial[Info])
	return t
}
