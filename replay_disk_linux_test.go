package stint_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// The disk under a recording: what is on it for certain, and what may be.
//
//  1. What a sync that has returned covers is on the disk.
//  2. Of the writes behind it, cut into blocks of 4 KiB, any subset is. The
//     change of a file's size is a write too.
//  3. Names are made, changed and removed in order; how far, nobody knows
//     until the directory is synced. A sync of the file does not suffice.
//  4. What a failed sync was to cover may be on the disk or not, for ever:
//     another sync that succeeds does not change that. Only a new write does.
//
// That is harsher than file systems are which keep the order of some writes,
// and gentler than a disk that lies about syncs.

// opening is what a descriptor leads to.
type opening struct {
	file     *inode // nil for a directory
	at       int64
	appends  bool
	covering []*effect // by a sync that has begun
	names    int
}

// naming is a change of the directory: names that get a file, or lose theirs.
type naming map[string]*inode

// disk is what the calls so far have left.
type disk struct {
	dir     string
	now     map[string]*inode // as the process sees it
	safe    map[string]*inode
	pending []naming
	open    map[int64]*opening

	forget func(c *call, d *disk) bool // a sync that is to be taken for none

	facts         []string
	epochs        []*epoch
	writes, syncs int  // blocks, and what made them safe
	metaLast      bool // the last write was one of a meta page of bbolt's
}

// epoch is a time during which nothing becomes safe. What a power cut may
// leave in it is richest at its end, and at its end most has been told to
// somebody: it is checked there.
type epoch struct {
	names []map[string]*inode // by how far the changes of names may have come
	files map[*inode]frozen
	facts int // how many lines had been said
}

type frozen struct {
	safe    *image
	pending []*effect
}

// replay goes through recordings of one directory and returns the epochs and
// what was said. A sync for which forget is true makes nothing safe.
func replay(dir string, forget func(*call, *disk) bool, recordings ...[]*call) (d *disk, err error) {
	d = &disk{dir: dir, now: map[string]*inode{}, safe: map[string]*inode{}, forget: forget}
	for _, calls := range recordings {
		d.open = map[int64]*opening{}
		type moment struct {
			at  int
			c   *call
			end bool
		}
		var moments []moment
		for _, c := range calls {
			moments = append(moments, moment{c.start, c, false}, moment{c.end, c, true})
		}
		slices.SortStableFunc(moments, func(a, b moment) int { return a.at - b.at })
		effects := map[*call][]*effect{}
		for _, m := range moments {
			switch {
			case !m.end:
				effects[m.c], err = d.begin(m.c)
			case m.at != neverEnded:
				for _, e := range effects[m.c] {
					e.done = true
				}
				err = d.end(m.c)
			}
			if err != nil {
				return nil, fmt.Errorf("%s(%.200s) = %d: %w", m.c.name, strings.Join(m.c.args, ", "), m.c.result, err)
			}
		}
	}
	d.closeEpoch()
	return d, nil
}

// closeEpoch notes what a power cut may leave now.
func (d *disk) closeEpoch() {
	e := &epoch{files: map[*inode]frozen{}, facts: len(d.facts)}
	names := maps.Clone(d.safe)
	e.names = append(e.names, maps.Clone(names))
	for _, change := range d.pending {
		change.apply(names)
		e.names = append(e.names, maps.Clone(names))
	}
	for _, names := range e.names {
		for _, f := range names {
			e.files[f] = frozen{f.safe, slices.Clone(f.pending)}
		}
	}
	d.epochs = append(d.epochs, e)
}

func (n naming) apply(names map[string]*inode) {
	for name, f := range n {
		if names[name] = f; f == nil {
			delete(names, name)
		}
	}
}

func (d *disk) rename(change naming) {
	change.apply(d.now)
	d.pending = append(d.pending, change)
}

// inside tells whether a path is that of a file in the directory.
func (d *disk) inside(path string) bool { return filepath.Dir(path) == d.dir }

// begin is what a call may do from its start on.
func (d *disk) begin(c *call) ([]*effect, error) {
	if c.failed {
		switch c.name {
		case "fsync", "fdatasync":
		default:
			return nil, nil
		}
	}
	switch c.name {
	case "write":
		if c.args[0] == "1" {
			d.facts = append(d.facts, strings.Split(strings.TrimSuffix(string(c.bytes(1)), "\n"), "\n")...)
		}
		o := d.open[c.number(0)]
		if o == nil {
			return nil, nil
		}
		if o.appends {
			o.at = o.file.size
		}
		at := o.at
		o.at += c.result
		return o.write(c.bytes(1), at, c.result)
	case "pwrite64":
		if o := d.open[c.number(0)]; o != nil {
			d.metaLast = c.number(3) <= blockSize
			d.writes += int(c.result / blockSize)
			return o.write(c.bytes(1), c.number(3), c.result)
		}
	case "ftruncate":
		if o := d.open[c.number(0)]; o != nil {
			size := c.number(1)
			e := &effect{block: -1, size: size, cut: size < o.file.size}
			o.file.size = size
			o.file.pending = append(o.file.pending, e)
			return []*effect{e}, nil
		}
	case "fsync", "fdatasync":
		if o := d.open[c.number(0)]; o != nil {
			o.names = len(d.pending)
			if o.file != nil {
				o.covering = slices.DeleteFunc(slices.Clone(o.file.pending), func(e *effect) bool { return !e.done })
			}
		}
	case "close":
		delete(d.open, c.number(0))
	case "mmap":
		if d.open[c.number(4)] != nil && strings.Contains(c.args[2], "PROT_WRITE") && strings.Contains(c.args[3], "MAP_SHARED") {
			return nil, errNotModelled
		}
	}
	return nil, nil
}

var errNotModelled = fmt.Errorf("this is not modelled by the replay")

// write cuts what is written into blocks.
func (o *opening) write(data []byte, at, n int64) (effects []*effect, err error) {
	if n < 0 {
		n = int64(len(data))
	}
	if o.file == nil || int64(len(data)) < n {
		return nil, errNotModelled
	}
	o.file.size = max(o.file.size, at+n)
	for data = data[:n]; len(data) > 0; {
		from := int(at % blockSize)
		part := data[:min(len(data), blockSize-from)]
		data = data[len(part):]
		e := &effect{block: int(at / blockSize), from: from, data: part, size: at + int64(len(part))}
		if len(part) == blockSize {
			if e.whole = newBlock(part); e.whole == nil {
				e.whole = zeroBlock
			}
		}
		effects = append(effects, e)
		at += int64(len(part))
	}
	o.file.pending = append(o.file.pending, effects...)
	return effects, nil
}

// end is what a call that has returned has done.
func (d *disk) end(c *call) error {
	switch c.name {
	case "fsync", "fdatasync":
		if o := d.open[c.number(0)]; o != nil {
			d.sync(c, o)
		}
		return nil
	}
	if c.failed {
		return nil
	}
	switch c.name {
	case "openat":
		return d.openAt(c)
	case "lseek":
		if o := d.open[c.number(0)]; o != nil {
			o.at = c.result
		}
	case "write", "pwrite64", "ftruncate", "close", "mmap":
	case "renameat", "renameat2", "rename", "link", "linkat", "unlink", "unlinkat":
		return d.nameChange(c)
	default:
		// A descriptor at any place among the arguments, or a path.
		for i := range c.args {
			if d.open[c.number(i)] != nil || strings.HasPrefix(c.path(i), d.dir) {
				return errNotModelled
			}
		}
	}
	return nil
}

func (d *disk) sync(c *call, o *opening) {
	switch {
	case c.failed:
		for _, e := range o.covering {
			e.doubted = true
		}
	case d.forget != nil && d.forget(c, d):
	default:
		d.syncs++
		d.closeEpoch()
		if o.file != nil {
			o.file.settle(o.covering)
			return
		}
		for _, change := range d.pending[:o.names] {
			change.apply(d.safe)
		}
		d.pending = slices.Clone(d.pending[o.names:])
	}
}

func (d *disk) openAt(c *call) error {
	path := c.path(1)
	if path == d.dir {
		d.open[c.result] = &opening{}
		return nil
	}
	if !d.inside(path) {
		return nil
	}
	f := d.now[path]
	switch {
	case f == nil && strings.Contains(c.args[2], "O_CREAT"):
		f = &inode{safe: &image{}}
		d.rename(naming{path: f})
	case f == nil || strings.Contains(c.args[2], "O_TRUNC") && f.size > 0:
		return errNotModelled
	}
	d.open[c.result] = &opening{file: f, appends: strings.Contains(c.args[2], "O_APPEND")}
	return nil
}

func (d *disk) nameChange(c *call) error {
	paths := []string{}
	for _, arg := range c.args {
		if arg[0] == '"' {
			paths = append(paths, filepath.Clean(string(unquote(arg))))
		}
	}
	if !slices.ContainsFunc(paths, d.inside) {
		return nil
	}
	from := d.now[paths[0]]
	switch {
	case from == nil || c.args[0][0] != '"' && c.args[0] != "AT_FDCWD":
		return errNotModelled
	case strings.HasPrefix(c.name, "unlink"):
		d.rename(naming{paths[0]: nil})
	case strings.HasPrefix(c.name, "link"):
		d.rename(naming{paths[1]: from})
	case c.name == "renameat2" && c.args[4] != "0":
		return errNotModelled
	default:
		d.rename(naming{paths[0]: nil, paths[1]: from})
	}
	return nil
}
