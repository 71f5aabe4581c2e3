package stint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// How args become JSON and args again. Both directions use the encoders and
// decoders of encoding/json again and again: a new one each time was a third of
// all that a job allocates.

// pooledArgs is the size of JSON up to which that is worth while; larger
// buffers would stay in memory.
const pooledArgs = 16 << 10

// argsEncoder writes JSON into a buffer of its own.
type argsEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

// argsDecoder reads one value after the other from what looks like a stream.
type argsDecoder struct {
	input bytes.Reader
	dec   *json.Decoder
}

var (
	argsEncoders = sync.Pool{New: func() any {
		e := &argsEncoder{}
		e.enc = json.NewEncoder(&e.buf)
		return e
	}}
	argsDecoders = sync.Pool{New: func() any {
		d := &argsDecoder{}
		d.dec = json.NewDecoder(&d.input)
		return d
	}}
)

// appendArgs writes args as JSON behind b; the error names type and field.
func appendArgs(b []byte, args Args) ([]byte, error) {
	e := argsEncoders.Get().(*argsEncoder)
	e.buf.Reset()
	if err := e.enc.Encode(args); err != nil {
		path := fmt.Sprintf("%T", args) + badField(reflect.ValueOf(args), 0)
		return nil, fmt.Errorf("%w: %s cannot be written as JSON: %w", ErrBadArgs, path, err)
	}
	b = append(b, bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))...)
	if e.buf.Cap() <= pooledArgs {
		argsEncoders.Put(e)
	}
	return b, nil
}

// decodeArgs reads what appendArgs has written, or other JSON, into a pointer
// to args.
func decodeArgs(data []byte, into any) error {
	if n := len(data); n > pooledArgs || n < 2 || data[0] != '{' || data[n-1] != '}' {
		return json.Unmarshal(data, into) // only an object ends without a look at what follows
	}
	d := argsDecoders.Get().(*argsDecoder)
	d.input.Reset(data)
	from := d.dec.InputOffset()
	if err := d.dec.Decode(into); err != nil {
		return err // the decoder is of no more use
	}
	if d.dec.InputOffset()-from != int64(len(data)) {
		return json.Unmarshal(data, into) // there is something behind the object
	}
	d.input.Reset(nil) // lets go of the record
	argsDecoders.Put(d)
	return nil
}

// badField looks for the innermost field or element that json refuses.
func badField(v reflect.Value, depth int) string {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	refuses := func(e reflect.Value) bool {
		if !e.CanInterface() {
			return false
		}
		_, err := json.Marshal(e.Interface())
		return err != nil
	}
	if depth > 20 || !v.IsValid() {
		return ""
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "-" && refuses(v.Field(i)) {
				return "." + field.Name + badField(v.Field(i), depth+1)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if refuses(v.Index(i)) {
				return fmt.Sprintf("[%d]", i) + badField(v.Index(i), depth+1)
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if refuses(v.MapIndex(key)) {
				return fmt.Sprintf("[%v]", key) + badField(v.MapIndex(key), depth+1)
			}
		}
	}
	return ""
}
