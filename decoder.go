package stint

import "encoding/binary"

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder reads the parts of a record; after the first mistake it returns
// zeros and failed is set.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.failed, d.b = true, nil
		return nil
	}
	taken := d.b[:n:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.skip(n)
	return v
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		n = -1
	}
	d.take(n)
}

// count reads the length of a list, each element of which has a byte at
// least.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.take(-1)
		return 0
	}
	return int(n)
}

func (d *decoder) textBytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		n = 1 << 40
	}
	return d.take(int(min(n, 1<<31-1)))
}

func (d *decoder) text() string { return string(d.textBytes()) }

func (d *decoder) name(known string) string {
	b := d.textBytes()
	if string(b) == known {
		return known
	}
	return string(b)
}
