package dashboard

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/stintq/stint"
	"github.com/stintq/stint/internal/wire"
)

// An import makes new jobs of lines of JSON, while the queue works.
//
//  1. The body is read line by line; memory does not grow with it.
//  2. Each line is a job: a line of an export, of which only unfinished jobs
//     are taken, or an object in its own words. Lines that cannot be stored
//     are refused, and the others go on.
//  3. A few lines are stored at the same time, so that they share commits.
//  4. What ends everything, such as a queue that is full, ends the import, with
//     an answer that says how many jobs were stored by then.
//
// The jobs get new ids. Who imports the same lines twice has them twice.
var apiImportRoutes = []route{
	{method: "POST", path: "/api/v1/import", role: Admin, act: (*dashboard).apiImport, large: true},
}

const (
	importWriters = 8
	maxImportLine = 32 << 20 // of args of 16 MiB, and what comes with them
	shownRefused  = 20
	importTimeout = time.Minute // for the next part of the body
)

func (d *dashboard) apiImport(r *request) (outcome, error) {
	out := outcome{verb: "import", target: "jobs"}
	if form, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); form == "multipart/form-data" || form == "application/x-www-form-urlencoded" {
		return outcome{}, &failure{http.StatusUnsupportedMediaType, "send the lines themselves as the body, as application/x-ndjson", nil}
	}
	run := &importing{q: d.q, now: time.Now()}
	err := run.all(r.Context(), &patientReader{body: r.Body, control: r.control})
	slices.SortFunc(run.done.Lines, func(a, b wire.Refused) int { return a.Line - b.Line })
	out.note = fmt.Sprintf("%d stored, %d lines refused", run.done.Stored, run.done.Refused)
	if err != nil {
		return out, &failure{asFailure(err).status, fmt.Sprintf("the import has stopped, %s: %v", out.note, err), err}
	}
	if run.done.Lines == nil {
		run.done.Lines = []wire.Refused{}
	}
	out.data = run.done
	return out, nil
}

// patientReader gives each part of a body its own time. The server's own
// ReadTimeout would be for all of them together.
type patientReader struct {
	body    io.Reader
	control *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(importTimeout)) // what cannot, has none
	return p.body.Read(b)
}

// importing is one import.
type importing struct {
	q   *stint.Queue
	now time.Time

	mu     sync.Mutex
	done   wire.Imported
	failed error // what ends it
}

// numbered is a line with its number.
type numbered struct {
	number int
	text   []byte
}

// all reads lines and lets them be stored.
func (run *importing) all(ctx context.Context, body io.Reader) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines := make(chan numbered)
	var writers sync.WaitGroup
	for range importWriters {
		writers.Go(func() {
			for line := range lines {
				if err := run.line(ctx, line); err != nil {
					run.fail(err)
					stop()
				}
			}
		})
	}
	err := run.read(ctx, body, lines)
	close(lines)
	writers.Wait()
	run.mu.Lock()
	defer run.mu.Unlock()
	return errors.Join(run.failed, err)
}

// read hands the lines on. That it was stopped is no error of its own.
func (run *importing) read(ctx context.Context, body io.Reader, lines chan<- numbered) error {
	in := bufio.NewReaderSize(body, 64<<10)
	complete := completeness{}
	for number := 1; ; number++ {
		text, err := readLine(in)
		if err != nil && err != io.EOF && !errors.Is(err, errLongLine) {
			return bodyError(err)
		}
		switch complete.see(text); {
		case errors.Is(err, errLongLine):
			run.refuse(number, err)
		case len(text) > 0:
			select {
			case lines <- numbered{number, text}:
			case <-ctx.Done():
				return nil
			}
		}
		if err == io.EOF {
			if complete.missing() {
				run.refuse(number, errors.New("the export is cut short: its last line is missing"))
			}
			return nil
		}
	}
}

var errLongLine = fmt.Errorf("the line is longer than %d bytes", maxImportLine)

// readLine reads a line without what ends it. Of one that is too long the rest
// is passed over.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for long := false; ; {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxImportLine; !long {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err != nil && err != io.EOF:
			return nil, err
		case long:
			return nil, errLongLine // at the end of the body, the next call says so
		}
		return bytes.TrimSpace(line), err
	}
}

// line stores the job of a line. An error is one for all lines.
func (run *importing) line(ctx context.Context, line numbered) error {
	job, err := parseImportLine(line.text)
	if err == nil && job == nil {
		run.mu.Lock()
		defer run.mu.Unlock()
		run.done.Passed++
		return nil
	}
	if err == nil {
		err = job.store(ctx, run)
	}
	switch {
	case err == nil:
		run.mu.Lock()
		defer run.mu.Unlock()
		run.done.Stored++
	case ctx.Err() != nil || endsImport(err):
		return err
	default:
		run.refuse(line.number, err)
	}
	return nil
}

// endsImport says whether an error is none of the line's.
func endsImport(err error) bool {
	for _, one := range []error{stint.ErrBadArgs, stint.ErrBadOption, stint.ErrArgsTooLarge, stint.ErrDuplicate, errBadLine} {
		if errors.Is(err, one) {
			return false
		}
	}
	return true
}

func (run *importing) refuse(number int, err error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.done.Refused++
	run.done.Lines = append(run.done.Lines, wire.Refused{Line: number, Error: err.Error()})
	if len(run.done.Lines) > shownRefused { // lines are not refused in their order
		last := slices.MaxFunc(run.done.Lines, func(a, b wire.Refused) int { return a.Line - b.Line })
		run.done.Lines = slices.DeleteFunc(run.done.Lines, func(one wire.Refused) bool { return one.Line == last.Line })
	}
}

// fail keeps the first error: the others follow from it.
func (run *importing) fail(err error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.failed == nil {
		run.failed = err
	}
}
