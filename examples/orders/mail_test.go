package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// moody is an SMTP session that fails where a test wants it to.
type moody struct{ greeting, sender, recipient, content error }

func (m *moody) Mail(string, *smtp.MailOptions) error { return m.sender }
func (m *moody) Rcpt(string, *smtp.RcptOptions) error { return m.recipient }
func (m *moody) Data(r io.Reader) error               { _, _ = io.Copy(io.Discard, r); return m.content }
func (m *moody) Reset()                               {}
func (m *moody) Logout() error                        { return nil }

func TestAnswersOfTheMailServer(t *testing.T) {
	answer := func(code int) error { return &smtp.SMTPError{Code: code, Message: "because"} }
	for name, test := range map[string]struct {
		server  moody
		refused bool
	}{
		"no such recipient":       {moody{recipient: answer(550)}, true},
		"recipient, later":        {moody{recipient: answer(451)}, false},
		"the content is spam":     {moody{content: answer(554)}, true},
		"the content, later":      {moody{content: answer(452)}, false},
		"another sender, please":  {moody{sender: answer(553)}, false},
		"sender, later":           {moody{sender: answer(421)}, false},
		"nobody is welcome":       {moody{greeting: answer(554)}, false},
		"nobody is welcome today": {moody{greeting: answer(421)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
				return &test.server, test.server.greeting
			}))
			server.ErrorLog = log.New(io.Discard, "", 0)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served := make(chan error)
			go func() { served <- server.Serve(listener) }()
			defer func() {
				require.NoError(t, server.Close())
				<-served
			}()
			err = testMailer(t, listener.Addr().String()).send(t.Context(), letter{id: "<1@x>", to: mail.Address{Address: "ana@mail.example"}})
			require.ErrorContains(t, err, "because")
			if test.refused {
				require.ErrorIs(t, err, errRefused)
			} else {
				require.NotErrorIs(t, err, errRefused)
			}
		})
	}
}

func testMailer(t *testing.T, server string) *mailer {
	t.Helper()
	m, err := newMailer(options{smtp: server, from: "Shop <shop@shop.example>"})
	require.NoError(t, err)
	return m
}

func TestSilentMailServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := testMailer(t, listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.Error(t, m.send(ctx, letter{}), "it accepts the connection and says nothing")
	require.NoError(t, listener.Close())
	err = m.send(t.Context(), letter{})
	require.ErrorContains(t, err, m.server, "nobody listens")
	require.NotErrorIs(t, err, errRefused)
}

func TestLetter(t *testing.T) {
	office := testOffice(t, 0)
	m := testMailer(t, office.address)
	l := confirmationOf(Order{Number: 7, Name: "Jürgen\r\nBcc: all@mail.example", Email: "juergen@mail.example", Cents: 4990})
	l.id = m.messageID("file-1")
	l.body += ".\n.a line of dots\n"
	require.NoError(t, m.send(t.Context(), l))
	letters := office.letters()["<file-1@shop.example>"]
	require.Len(t, letters, 1)
	require.Equal(t, "juergen@mail.example", letters[0].to)
	require.Equal(t, "Your order 7", letters[0].subject)
	require.Equal(t, strings.ReplaceAll(l.body, "\r\n", "\n"), letters[0].body)

	message, err := mail.ReadMessage(bytes.NewReader(l.encode(m.from, time.Now())))
	require.NoError(t, err)
	require.Empty(t, message.Header.Get("Bcc"))
	to, err := message.Header.AddressList("To")
	require.NoError(t, err)
	require.Len(t, to, 1)
	require.Equal(t, "juergen@mail.example", to[0].Address)
}
