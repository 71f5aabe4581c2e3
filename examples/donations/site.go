package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/stintq/stint"
	bolt "go.etcd.io/bbolt"
)

// workers is large because a follow-up does nothing but wait for the sync to
// disk that it shares with others.
const workers = 64

// site is the whole application: a file, the workers on it and the web server
// in front.
type site struct {
	queue    *stint.Queue
	url      string
	web      *http.Server
	stopWork context.CancelFunc
	parts    sync.WaitGroup // the workers and the web server
	ended    chan error     // one from each of them
}

// openSite opens the file and returns when donations are taken.
func openSite(path string) (*site, error) {
	queue, err := stint.Open(path, &stint.Config{Workers: workers})
	if err != nil {
		return nil, err
	}
	s := &site{queue: queue, ended: make(chan error, 2)}
	if err := createBuckets(s.queue); err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	stint.Handle(queue, s.followUp, nil)
	// One recount at a time, or an older one could overwrite a newer.
	stint.Handle(queue, s.recount, &stint.Policy{Concurrency: 1})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, queue.Close())
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /donate", s.donate)
	s.url = "http://" + listener.Addr().String()
	s.web = &http.Server{Handler: routes}

	var work context.Context
	work, s.stopWork = context.WithCancel(context.Background())
	s.parts.Go(func() { s.ended <- queue.Run(work) })
	s.parts.Go(func() { s.ended <- s.web.Serve(listener) })
	return s, nil
}

// close ends the site from the front to the back.
func (s *site) close() error {
	err := s.web.Close()
	s.stopWork()
	s.parts.Wait()
	close(s.ended)
	for ended := range s.ended {
		if !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
	}
	return errors.Join(err, s.queue.Close())
}

// donate takes the form that a donor sends once the card has been charged. The
// reference is that of the payment, so that a form that is sent twice, because
// the answer got lost, is one donation.
func (s *site) donate(w http.ResponseWriter, r *http.Request) {
	cents, err := strconv.ParseInt(r.PostFormValue("cents"), 10, 64)
	d := Donation{
		Reference:  r.PostFormValue("reference"),
		Fundraiser: r.PostFormValue("fundraiser"),
		Cents:      cents,
		Donor:      r.PostFormValue("donor"),
		Email:      r.PostFormValue("email_id"),
	}
	if err != nil || !d.valid() {
		http.Error(w, "the form needs a reference, a fundraiser and a positive number of cents", http.StatusBadRequest)
		return
	}
	if err := s.save(d); err != nil {
		http.Error(w, "please send it again: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// save stores the donation and what follows from it: both or neither.
func (s *site) save(d Donation) error {
	err := s.queue.Update(func(tx *bolt.Tx) error {
		if err := addDonation(tx, d); err != nil {
			return err
		}
		_, err := s.queue.EnqueueTx(tx, FollowUp{Fundraiser: d.Fundraiser, Reference: d.Reference})
		return err
	})
	if errors.Is(err, errIsThere) {
		return nil // with its follow-up
	}
	return err
}
