package main

import (
	"errors"
	"io"
	"log"
	"maps"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// postOffice is a real SMTP server that keeps what it accepts in memory. It
// refuses addresses of movedAway for good, and now and then one for the moment.
type postOffice struct {
	listener net.Listener
	server   *smtp.Server
	serving  sync.WaitGroup
	address  string // host:port
	busyEach int    // every so many recipients are told to come again later; 0: none
	before   func() // called before each letter is accepted, if not nil

	mu         sync.Mutex
	recipients int
	accepted   map[string][]received // by Message-Id
}

// received is a letter as it came over the wire.
type received struct {
	to      string
	subject string
	body    string
}

func openPostOffice(busyEach int) (*postOffice, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &postOffice{listener: listener, address: listener.Addr().String(), busyEach: busyEach, accepted: map[string][]received{}}
	p.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &counter{office: p}, nil
	}))
	p.server.Domain = "post.example"
	p.server.ErrorLog = log.New(io.Discard, "", 0) // clients that were killed
	p.serving.Go(func() { _ = p.server.Serve(listener) })
	return p, nil
}

func (p *postOffice) close() error {
	err := p.server.Close()
	_ = p.listener.Close() // which Close overlooks if Serve has not begun yet
	p.serving.Wait()
	return err
}

// letters are all that was accepted so far, by Message-Id.
func (p *postOffice) letters() map[string][]received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.accepted)
}

// lettersTo are those to one address.
func (p *postOffice) lettersTo(address string) (found []received) {
	for _, same := range p.letters() {
		for _, letter := range same {
			if letter.to == address {
				found = append(found, letter)
			}
		}
	}
	return found
}

// admit decides about a recipient.
func (p *postOffice) admit(to string) error {
	if strings.HasSuffix(to, "@"+movedAway) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recipients++
	if p.busyEach > 0 && p.recipients%p.busyEach == 0 {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "busy, come again later"}
	}
	return nil
}

func (p *postOffice) accept(to string, content io.Reader) error {
	message, err := mail.ReadMessage(content)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(quotedprintable.NewReader(message.Body))
	if err != nil {
		return err
	}
	id := message.Header.Get("Message-Id")
	if id == "" {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "no Message-Id"}
	}
	if p.before != nil {
		p.before()
	}
	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted[id] = append(p.accepted[id], received{to, message.Header.Get("Subject"), text})
	return nil
}

// counter is where one client is served: an SMTP session.
type counter struct {
	office *postOffice
	to     string
}

func (c *counter) Mail(string, *smtp.MailOptions) error { return nil }

func (c *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	if c.to != "" {
		return errors.New("one recipient, please")
	}
	if err := c.office.admit(to); err != nil {
		return err
	}
	c.to = to
	return nil
}

func (c *counter) Data(content io.Reader) error { return c.office.accept(c.to, content) }

func (c *counter) Reset() { c.to = "" }

func (c *counter) Logout() error { return nil }
