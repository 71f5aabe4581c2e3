package stint

import "bytes"

// logs are the buckets of entries that nothing else follows from, and how one
// is read.
var logs = map[bucketName]func(k, v []byte) error{
	bucketHistory: func(k, v []byte) error { _, err := readActivity(k, v); return err },
	bucketStarts:  func(k, v []byte) error { _, err := decodeStart(k, v); return err },
	bucketActions: func(k, v []byte) error { _, err := readAction(k, v); return err },
}

// renewLog lets the repair write a log anew.
func (c *checker) renewLog(name bucketName) {
	for _, f := range c.fixes {
		if f.what == fixLog && f.name == name {
			return
		}
	}
	c.fix(fix{name: name, what: fixLog})
}

// renewLog writes a log anew with the entries that can be read. To take the
// others out one by one is not enough: a commit finds the place of a changed
// page by what its first key was, and where that key is what is damaged, the
// page as it was stays in the tree.
func (t *txn) renewLog(name bucketName) error {
	old := t.bucket(name)
	last := old.Sequence()
	var kept [][2][]byte // a log is bounded
	cur := old.Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if logs[name](k, v) == nil {
			kept = append(kept, [2][]byte{bytes.Clone(k), bytes.Clone(v)})
		}
	}
	t.buckets[name], t.cursors[name] = nil, nil
	if err := t.root.DeleteBucket(bucketNames[name]); err != nil {
		return err
	}
	if err := makeBucket(t.root, name); err != nil {
		return err
	}
	for _, entry := range kept {
		if err := t.put(name, entry[0], entry[1]); err != nil {
			return err
		}
	}
	return t.bucket(name).SetSequence(last)
}
