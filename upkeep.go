package stint

import "context"

// upkeep lets one compaction or backup at a time do its copying, and ends it
// when the queue is closed.
type upkeep struct {
	turn chan struct{} // has a value while somebody copies
	life context.Context
	end  context.CancelCauseFunc
}

func newUpkeep() upkeep {
	u := upkeep{turn: make(chan struct{}, 1)}
	u.life, u.end = context.WithCancelCause(context.Background())
	return u
}

// begin waits for a turn. The context it returns ends with the queue as well.
func (u *upkeep) begin(ctx context.Context) (_ context.Context, release func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(u.life, func() { cancel(context.Cause(u.life)) })
	leave := func() {
		stop()
		cancel(nil)
	}
	select {
	case u.turn <- struct{}{}:
		return ctx, func() {
			leave()
			<-u.turn
		}, nil
	case <-ctx.Done():
		err := context.Cause(ctx)
		leave()
		return nil, nil, err
	}
}

// close ends who has the turn, waits for that, and gives out no more.
func (u *upkeep) close() {
	u.end(ErrClosed)
	u.turn <- struct{}{}
}
