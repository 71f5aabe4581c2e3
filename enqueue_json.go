package stint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Enqueueing without a Go type.
//
//  1. The JSON must be one value, in UTF-8.
//  2. Where this process has a handler of the kind, the JSON becomes a value of
//     the handler's type, as if the program had enqueued it: what Unique, Merge,
//     batches and middleware compare and see is the same either way. What the
//     type has no room for would be lost on the way, so it is refused: fields
//     that it does not have, and digits.
//  3. Where it has none, the JSON is taken as it is.
//  4. From there on it is Enqueue.

// EnqueueJSON is Enqueue for who has no Go type at hand: a person, or another
// program. args are one JSON value; none, or nil, is {}.
//
// If this process has a handler of the kind, args must fit its type: an unknown
// field, a value of another type, or a number with more digits than the field
// keeps is ErrBadArgs, and the error names it. What is stored is what Enqueue
// would store for such a value, and Config.EnqueueMiddleware sees one; numbers
// in a field of an interface type are a json.Number there. A kind without a
// handler is accepted with any JSON and parks; middleware then sees Args that
// can do no more than Kind and MarshalJSON. Numbers keep their digits.
//
// Other errors are those of Enqueue; ErrBadArgs is also the answer for a kind
// that is no valid name.
func (q *Queue) EnqueueJSON(ctx context.Context, kind string, args []byte, opts ...Option) (ID, error) {
	value, err := q.argsOf(kind, args)
	if err != nil {
		return 0, err
	}
	return q.Enqueue(ctx, value, opts...)
}

// argsOf makes args of JSON.
func (q *Queue) argsOf(kind string, data []byte) (Args, error) {
	if err := checkName("kind", kind); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadArgs, err)
	}
	if len(data) == 0 {
		data = []byte("{}")
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return nil, fmt.Errorf("%w: those of this %s are not one JSON value: %w", ErrBadArgs, kind, err)
	}
	if data = compact.Bytes(); !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: those of this %s are not in UTF-8", ErrBadArgs, kind)
	}
	h := q.handlerOf(kind)
	if h == nil {
		return jsonArgs{kind, data}, nil
	}
	args, err := h.parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: those of this %s do not fit %T: %s", ErrBadArgs, kind, args, strings.TrimPrefix(err.Error(), "json: "))
	}
	switch {
	case isNil(args):
		return nil, errNilArgs
	case args.Kind() != kind:
		return nil, fmt.Errorf("%w: as a %T they are of the kind %q, not %q", ErrBadArgs, args, args.Kind(), kind)
	}
	kept, err := appendArgs(nil, args)
	if err != nil {
		return nil, err
	}
	if where, number, left := lostNumber(parseFreely(data), parseFreely(kept)); number != "" {
		return nil, fmt.Errorf("%w: those of this %s do not fit %T: of the number %s in %s it keeps %s; give fewer digits, or a type that keeps them", ErrBadArgs, kind, args, number, where, left)
	}
	return args, nil
}

// jsonArgs are args of a kind that this process has no type for.
type jsonArgs struct {
	kind string
	json json.RawMessage
}

func (a jsonArgs) Kind() string                 { return a.kind }
func (a jsonArgs) MarshalJSON() ([]byte, error) { return a.json, nil }

// parseStrictly reads JSON into a pointer to args.
func parseStrictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	d.UseNumber()
	return d.Decode(into)
}

// parseFreely reads valid JSON into maps and slices.
func parseFreely(data []byte) (value any) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	_ = d.Decode(&value)
	return value
}

// lostNumber finds a number that is another one in what was kept, and where.
// What is somewhere else there, or no number, was made so by methods of the
// type, and is its own business.
func lostNumber(given, kept any) (where, number, left string) {
	switch g := given.(type) {
	case json.Number:
		if k, ok := kept.(json.Number); ok && decimalOf(string(g)) != decimalOf(string(k)) {
			return "the args", string(g), string(k)
		}
	case []any:
		k, _ := kept.([]any)
		for i := range min(len(g), len(k)) {
			if where, number, left = lostNumber(g[i], k[i]); number != "" {
				return within(fmt.Sprintf("[%d]", i), where), number, left
			}
		}
	case map[string]any:
		k, _ := kept.(map[string]any)
		for name, value := range g {
			if where, number, left = lostNumber(value, fieldOf(k, name)); number != "" {
				return within("."+name, where), number, left
			}
		}
	}
	return "", "", ""
}

func within(step, where string) string { return step + strings.TrimPrefix(where, "the args") }

// fieldOf is a field by its name, which JSON may give in other letters than
// the type does.
func fieldOf(fields map[string]any, name string) any {
	if value, ok := fields[name]; ok {
		return value
	}
	for other, value := range fields {
		if strings.EqualFold(other, name) {
			return value
		}
	}
	return nil
}

// decimal is a number in JSON, however it is written: sign 0.digits times ten
// to the power of exponent.
type decimal struct {
	negative bool
	digits   string
	exponent int
}

func decimalOf(number string) decimal {
	var d decimal
	number, d.negative = strings.CutPrefix(number, "-")
	number, power, _ := strings.Cut(strings.ToLower(number), "e")
	whole, fraction, _ := strings.Cut(number, ".")
	d.exponent, _ = strconv.Atoi(power) // one that is out of range keeps the largest, with its sign
	d.exponent += len(whole)
	digits := strings.TrimLeft(whole+fraction, "0")
	d.exponent -= len(whole) + len(fraction) - len(digits)
	if d.digits = strings.TrimRight(digits, "0"); d.digits == "" {
		return decimal{} // zero
	}
	return d
}
