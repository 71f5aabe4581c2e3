package stint

import "bytes"

// fix is something that a repair writes when a pass is over.
type fix struct {
	name  bucketName
	what  fixKind
	lane  uint32
	id    uint64
	key   []byte
	value []byte
}

type fixKind uint8

const (
	fixPut fixKind = iota
	fixDelete
	fixReady    // the bit of a job in the ready index
	fixSequence // of a bucket
	fixLast     // the last id
	fixAside    // to the quarantine, from key
)

func (c *checker) fix(f fix) {
	if c.fixing {
		c.fixes = append(c.fixes, f)
	}
}

func (c *checker) put(name bucketName, key, value []byte) {
	if c.fixing {
		c.fix(fix{name: name, key: bytes.Clone(key), value: bytes.Clone(value)})
	}
}

// putIn is put for a value that may have to carry a checksum. It keeps both.
func (c *checker) putIn(name bucketName, key, value []byte) {
	if !c.fixing {
		return
	}
	if c.isSealed(name, key) {
		value = sealValue(key, value)
	}
	c.fix(fix{name: name, key: key, value: value})
}

func (c *checker) del(name bucketName, key []byte) {
	if c.fixing {
		c.fix(fix{name: name, what: fixDelete, key: bytes.Clone(key)})
	}
}

// setAside moves an entry of the jobs into quarantine.
func (c *checker) setAside(key []byte, id uint64, reason string, raw []byte) {
	switch {
	case !c.fixing:
	case c.sealed:
		c.fix(fix{name: bucketJobs, what: fixAside, id: id, key: bytes.Clone(key), value: encodeQuarantined(id, c.t.now, reason, raw)})
	default:
		c.fix(fix{name: bucketJobs, what: fixAside, id: id, key: bytes.Clone(key), value: bytes.Clone(raw)})
	}
}

// moveAside gives an entry of the quarantine another key.
func (c *checker) moveAside(key []byte, id uint64, entry []byte) {
	if c.fixing {
		c.fix(fix{name: bucketQuarantine, what: fixAside, id: id, key: bytes.Clone(key), value: bytes.Clone(entry)})
	}
}

func (c *checker) setLast(id uint64) { c.fix(fix{name: bucketJobs, what: fixLast, id: id}) }

// write writes what was noted, and tells how much it was.
func (c *checker) write() (n int, err error) {
	for _, f := range c.fixes {
		if err := c.writeOne(f); err != nil {
			return 0, err
		}
	}
	n, c.fixes, c.block = len(c.fixes), c.fixes[:0], readyBlock{}
	return n, c.t.flushReady()
}

func (c *checker) writeOne(f fix) error {
	t := c.t
	switch f.what {
	case fixDelete:
		return t.delete(f.name, f.key)
	case fixReady:
		t.setReady(f.lane, f.id, true)
		return nil
	case fixSequence:
		return t.bucket(f.name).SetSequence(f.id)
	case fixLast:
		if c.sealed {
			return setLastID(t.bucket(f.name), f.id)
		}
		return t.bucket(f.name).SetSequence(f.id)
	case fixAside:
		if err := t.put(bucketQuarantine, t.asideKey(f.id, f.key), f.value); err != nil {
			return err
		}
		return t.delete(f.name, f.key)
	}
	return t.put(f.name, f.key, f.value)
}

// lanesSoFar keeps a number that a portion has given to a lane from being given
// again before the next one.
func (c *checker) lanesSoFar() error {
	for _, ln := range c.laneOf {
		if ln.lost {
			c.putIn(bucketLanes, ln.row.key.appendTo(nil), ln.row.encode())
		}
	}
	if lanes := c.t.bucket(bucketLanes); lanes.Sequence() < uint64(c.topLane) {
		c.fix(fix{name: bucketLanes, what: fixSequence, id: uint64(c.topLane)})
	}
	_, err := c.write()
	return err
}

// endBatches ends the batches that should have ended. Those of a file of the
// first format end when it is opened and repaired again.
func (c *checker) endBatches() error {
	if encrypted := c.t.vault != nil; !c.sealed || encrypted && c.t.vault.keyless() { // no OnDone job could be stored
		return nil
	}
	for _, id := range c.over {
		if row := c.t.batch(id); row != nil {
			if err := c.t.endBatch(row); err != nil {
				return err
			}
		}
	}
	return c.t.flush()
}
