//go:build !unix

package main

import (
	"errors"
	"syscall"
)

func ordinaryUser(string) (*syscall.SysProcAttr, error) {
	return nil, errors.New("PostgreSQL is measured on Unix only")
}
