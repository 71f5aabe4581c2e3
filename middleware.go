package stint

import "context"

// EnqueueMiddleware runs around the storing of the jobs of one Enqueue,
// EnqueueAll or EnqueueTx call, and of each 1000 of EnqueueSeq. It may change
// the jobs, refuse them by returning an error without calling next, and see
// the outcome. Around EnqueueTx, "stored" means in the caller's transaction,
// and the context is the background one.
type EnqueueMiddleware func(ctx context.Context, jobs []*NewJob, next func(context.Context) error) error

// WorkMiddleware runs around one attempt, with the same rights and duties as
// a handler: a panic in it is a failure of the attempt, and what it returns
// decides about the job.
type WorkMiddleware func(ctx context.Context, job *Work, next func(context.Context) error) error

// enqueueVia calls store inside the middleware.
func enqueueVia(chain []EnqueueMiddleware, ctx context.Context, jobs []*NewJob, store func(context.Context) error) error {
	if len(chain) == 0 {
		return store(ctx)
	}
	return chain[0](ctx, jobs, func(ctx context.Context) error {
		return enqueueVia(chain[1:], ctx, jobs, store)
	})
}

// workVia calls handle inside the middleware.
func workVia(chain []WorkMiddleware, ctx context.Context, job *Work, handle func(context.Context) error) error {
	if len(chain) == 0 {
		return handle(ctx)
	}
	return chain[0](ctx, job, func(ctx context.Context) error {
		return workVia(chain[1:], ctx, job, handle)
	})
}
