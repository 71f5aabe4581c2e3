package stint

import (
	"context"
	"errors"
)

// errTakenBack is what MoveInVain ends with.
var errTakenBack = errors.New("the move is taken back")

// movedInVain is a Move whose transaction is given up when it is applied.
type movedInVain struct{ *action }

func (ch movedInVain) apply(t *txn) error {
	if err := ch.action.apply(t); err != nil {
		return err
	}
	return undo{errTakenBack}
}

// MoveInVain moves a job in a transaction that is rolled back.
func MoveInVain(q *Queue, id ID, queue string) (failed bool) {
	a := &action{verb: moveVerb, ids: []ID{id}, word: queue}
	a.reset()
	return errors.Is(q.submit(context.Background(), movedInVain{a}, &a.ticket), errTakenBack)
}
