package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
)

const keySize = 32

// keys are those of --key-file, or else those of STINT_KEYS.
func (a *app) keys() ([][]byte, error) {
	var keys [][]byte
	for _, name := range a.keyFiles {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if len(content) == keySize {
			keys = append(keys, content) // the key itself
			continue
		}
		some, err := parseKeys(strings.Fields(string(content)))
		if err != nil {
			return nil, fmt.Errorf("--key-file %s: %w", name, err)
		}
		keys = append(keys, some...)
	}
	if len(a.keyFiles) > 0 {
		return keys, nil
	}
	keys, err := parseKeys(strings.FieldsFunc(os.Getenv("STINT_KEYS"), func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }))
	if err != nil {
		return nil, fmt.Errorf("STINT_KEYS: %w", err)
	}
	return keys, nil
}

// parseKeys reads keys in hex or in any base64. Errors do not show them.
func parseKeys(texts []string) ([][]byte, error) {
	var keys [][]byte
	for i, text := range texts {
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != keySize {
			text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
			key, err = base64.RawStdEncoding.DecodeString(text)
		}
		if err != nil || len(key) != keySize {
			return nil, fmt.Errorf("key %d of %d is not %d bytes in hex or base64", i+1, len(texts), keySize)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
