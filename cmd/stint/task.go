package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stintq/stint/internal/wire"
)

// Tasks are what takes long: the API begins them and tells how far they are.

const taskPoll = 100 * time.Millisecond

// task begins one and waits for its end. ^C stops it, and waits for that too:
// what is done by then stays done.
func (a *app) task(ctx context.Context, c *client, path string, f fields) (json.RawMessage, error) {
	raw, err := c.post(ctx, path, f)
	if err != nil {
		return nil, err
	}
	return a.await(ctx, c, raw)
}

// await waits for the end of a task that has begun.
func (a *app) await(ctx context.Context, c *client, raw json.RawMessage) (json.RawMessage, error) {
	one, err := taskOf(raw)
	if err != nil {
		return nil, err
	}
	interrupt := ctx.Done()
	ctx = context.WithoutCancel(ctx) // also what is stopped is waited for
	bar := a.startProgress(one.Verb+" "+one.Target, false)
	defer bar.end()
	stopped := false
	for one.EndedAt.IsZero() {
		bar.show(one.Progress)
		select {
		case <-time.After(taskPoll):
		case <-interrupt:
			stopped, interrupt = true, nil
			if _, err := c.post(ctx, "tasks/"+one.ID+"/stop", nil); err != nil {
				return nil, fmt.Errorf("the task %s goes on, as it cannot be stopped: %w", one.ID, err)
			}
		}
		if raw, err = c.get(ctx, "tasks/"+one.ID, nil); err != nil {
			return nil, err
		}
		if one, err = taskOf(raw); err != nil {
			return nil, err
		}
	}
	if stopped {
		fmt.Fprintln(a.err, cleanText(one.Note))
		return raw, context.Canceled
	}
	if one.Error != "" {
		return raw, errors.New(one.Error)
	}
	return raw, nil
}

func taskOf(raw json.RawMessage) (wire.Task, error) {
	var one wire.Task
	err := json.Unmarshal(raw, &one)
	if err == nil && one.ID == "" {
		err = errors.New("the answer has no task")
	}
	return one, err
}

// printTask tells what came of a task.
func (a *app) printTask(raw json.RawMessage) error {
	if done, err := a.printedJSON(raw); done {
		return err
	}
	one, err := taskOf(raw)
	if err != nil {
		return err
	}
	return a.say(one.Verb, one.Target, one.Note)
}

// say tells what an action did.
func (a *app) say(verb, target, note string) error {
	text := verb + " " + target
	if note != "" {
		text += ": " + note
	}
	_, err := fmt.Fprintln(a.out, cleanLine(text))
	return err
}

// printOutcome tells what an action did that is done at once.
func (a *app) printOutcome(raw json.RawMessage) error {
	if done, err := a.printedJSON(raw); done {
		return err
	}
	var did struct {
		Did, Target, Note string
	}
	if err := json.Unmarshal(raw, &did); err != nil {
		return err
	}
	return a.say(did.Did, did.Target, did.Note)
}

// action does one, and tells what it did. What takes long is waited for.
func (a *app) action(ctx context.Context, path string, f fields) error {
	return a.act(ctx, path, f, "")
}

// act is action. What only a program can do says why, which is told where none
// has the file open.
func (a *app) act(ctx context.Context, path string, f fields, whyNotAlone string) error {
	var raw json.RawMessage
	isTask := false
	err := a.with(ctx, func(c *client) (err error) {
		if c.offline && whyNotAlone != "" {
			return unreachable("no program has %s open, %s", a.file, whyNotAlone)
		}
		if raw, err = c.post(ctx, path, f); err != nil {
			return err
		}
		if _, err := taskOf(raw); err == nil {
			isTask = true
			raw, err = a.await(ctx, c, raw)
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case isTask:
		return a.printTask(raw)
	}
	return a.printOutcome(raw)
}
