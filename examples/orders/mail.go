package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// letter is a mail of plain text.
type letter struct {
	id      string // of the Message-Id header, with its brackets
	to      mail.Address
	subject string
	body    string
}

func confirmationOf(order Order) letter {
	return letter{
		to:      mail.Address{Name: order.Name, Address: order.Email},
		subject: fmt.Sprintf("Your order %d", order.Number),
		body: fmt.Sprintf("Dear %s,\n\nthank you for your order %d of %s €. It is confirmed.\n\nYours, the shop\n",
			order.Name, order.Number, formatCents(order.Cents)),
	}
}

// mailer brings letters to a mail server.
type mailer struct {
	server string // host:port
	host   string
	from   *mail.Address
	auth   smtp.Auth // nil for none
}

func newMailer(opt options) (*mailer, error) {
	from, err := mail.ParseAddress(opt.from)
	if err != nil {
		return nil, fmt.Errorf("the sender's address %q: %w", opt.from, err)
	}
	host, _, err := net.SplitHostPort(opt.smtp)
	if err != nil {
		return nil, fmt.Errorf("the mail server must be given as host:port: %w", err)
	}
	m := &mailer{server: opt.smtp, host: host, from: from}
	if opt.user != "" {
		m.auth = smtp.PlainAuth("", opt.user, opt.password, host)
	}
	return m, nil
}

// domain is that of the sender.
func (m *mailer) domain() string {
	return m.from.Address[strings.LastIndexByte(m.from.Address, '@')+1:]
}

// messageID makes a Message-Id of a job's key, so it is the same for each
// attempt: whoever gets a mail twice, after a crash, can tell.
func (m *mailer) messageID(key string) string { return "<" + key + "@" + m.domain() + ">" }

// errRefused: the server does not take this letter, now or later.
var errRefused = errors.New("refused by the mail server")

// send returns when the server has taken responsibility for the letter. Only a
// 5xx about the recipient or the content is errRefused: one about the sender
// or a password is the fault of a configuration, and would be of every letter.
func (m *mailer) send(ctx context.Context, l letter) error {
	client, hangUp, err := m.connect(ctx)
	if err != nil {
		return fmt.Errorf("mail server %s: %w", m.server, err)
	}
	defer hangUp()
	if err := client.Mail(m.from.Address); err != nil {
		return fmt.Errorf("sender %s: %w", m.from.Address, err)
	}
	if err := client.Rcpt(l.to.Address); err != nil {
		return fmt.Errorf("%s: %w", l.to.Address, final(err))
	}
	content, err := client.Data()
	if err != nil {
		return fmt.Errorf("%s: %w", l.to.Address, final(err))
	}
	if _, err := content.Write(l.encode(m.from, time.Now())); err != nil {
		return err
	}
	if err := content.Close(); err != nil {
		return fmt.Errorf("%s: %w", l.to.Address, final(err))
	}
	_ = client.Quit() // the letter is the server's now
	return nil
}

// connect also encrypts and logs in, where the server offers it. The end of
// ctx cuts the connection.
func (m *mailer) connect(ctx context.Context) (client *smtp.Client, hangUp func(), err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.server)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	hangUp = func() {
		stop()
		conn.Close()
	}
	client, err = m.greet(conn)
	if err != nil {
		hangUp()
		return nil, nil, err
	}
	return client, hangUp, nil
}

func (m *mailer) greet(conn net.Conn) (*smtp.Client, error) {
	client, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return nil, err
	}
	if err := client.Hello(m.domain()); err != nil {
		return nil, err
	}
	if offered, _ := client.Extension("STARTTLS"); offered {
		if err := client.StartTLS(&tls.Config{ServerName: m.host}); err != nil {
			return nil, err
		}
	}
	if m.auth != nil {
		if err := client.Auth(m.auth); err != nil {
			return nil, err
		}
	}
	return client, nil
}

// final makes a 5xx answer errRefused.
func final(err error) error {
	var answer *textproto.Error
	if errors.As(err, &answer) && answer.Code/100 == 5 {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// encode writes the letter as it goes over the wire.
func (l *letter) encode(from *mail.Address, at time.Time) []byte {
	var b bytes.Buffer
	for _, header := range [][2]string{
		{"From", from.String()},
		{"To", l.to.String()},
		{"Subject", mime.QEncoding.Encode("utf-8", l.subject)},
		{"Date", at.Format(time.RFC1123Z)},
		{"Message-Id", l.id},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	_, _ = body.Write([]byte(l.body)) // into memory
	_ = body.Close()
	return b.Bytes()
}
