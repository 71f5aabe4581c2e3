//go:build !linux

package stint

import "errors"

// No other system tells of a jump without being asked.
func newAlarm() (alarm, error) { return nil, errors.ErrUnsupported }
