// Package stinttest helps to test programs that use stint, on the real engine
// and a real file.
//
//	func TestSignUp(t *testing.T) {
//		q := stinttest.New(t, nil)
//		app := NewApp(q) // registers the handlers
//
//		app.SignUp(42)
//		stinttest.RequireEnqueued(t, q, func(mail WelcomeEmail, _ stint.Info) bool { return mail.UserID == 42 })
//
//		info := stinttest.Work(t, q) // works one job, and says what became of it
//		if info.State != stint.Completed {
//			t.Error(info.Attempts)
//		}
//	}
//
// [New] opens a queue that lives as long as the test. [RequireEnqueued],
// [RequireNotEnqueued] and [Enqueued] look at the jobs that wait. [Work] works
// one of them and [Drain] all; they take the way that jobs take in production:
// claims, policies, limits, middleware, commits. To call one handler and
// nothing else there is [stint.Queue.Perform].
//
// Delays, backoffs and schedules pass in virtual time inside a bubble of
// [testing/synctest], where [FastForward] lets days pass at once.
//
// [Survives] kills the process at every commit of a handler's work, and finds
// what then happens twice or never.
//
// All but New take any queue, also one that the program has opened itself.
// They fail the test when something is wrong, as t.Fatal does, so they must be
// called in the test's own goroutine.
package stinttest
