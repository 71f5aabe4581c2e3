package stint

import "bytes"

// treeDiff makes a copy of an earlier version of a tree one of a later
// version.
//
// bbolt never writes a page anew that a transaction can still see. So while a
// transaction of the earlier version is open, a page that both versions have
// is the same with all that is below it, and is passed over. What is left to
// read is what has changed, and the way to it.
//
//  1. Both versions are walked side by side, in the order of the keys. A page
//     that is not common is opened: of two the one that is higher above the
//     leaves, so that common pages meet, and else the one that begins first.
//  2. Two keys are compared; what only one version has, or has with another
//     value, is a change.
//  3. A bucket is a value too. Where it differs, its sequence is set and its
//     own tree is compared in the same way.
//
// With nothing for the earlier version, it copies.
type treeDiff struct {
	r    *treeReader
	copy *treeCopy
}

// bring makes what was copied of the bucket before into now.
func (d *treeDiff) bring(before, now *treeBucket) error {
	if before != nil && before.root != 0 && before.root == now.root {
		return nil
	}
	a, b := d.r.walk(before), d.r.walk(now)
	for a.err == nil && b.err == nil && (a.ok || b.ok) {
		if err := d.step(a, b); err != nil {
			return err
		}
	}
	if a.err != nil {
		return a.err
	}
	return b.err
}

// step deals with the first of what two walks are at.
func (d *treeDiff) step(a, b *treeWalk) error {
	x, y := &a.item, &b.item
	switch {
	case a.ok && b.ok && x.page != 0 && x.page == y.page:
		a.next()
		b.next()
	case !b.ok || a.ok && x.page == 0 && y.page != 0 && bytes.Compare(x.key, y.key) < 0:
		return d.onlyBefore(a)
	case !a.ok || y.page == 0 && x.page != 0 && bytes.Compare(y.key, x.key) < 0:
		return d.onlyNow(b)
	case x.page != 0 && y.page != 0:
		first := x.height - y.height
		if first == 0 {
			first = bytes.Compare(y.key, x.key)
		}
		if first >= 0 {
			a.open()
		}
		if first <= 0 {
			b.open()
		}
	case x.page != 0:
		a.open()
	case y.page != 0:
		b.open()
	default:
		return d.keys(a, b)
	}
	return nil
}

func (d *treeDiff) keys(a, b *treeWalk) error {
	switch order := bytes.Compare(a.item.key, b.item.key); {
	case order < 0:
		return d.onlyBefore(a)
	case order > 0:
		return d.onlyNow(b)
	}
	err := d.changed(&a.item, &b.item)
	a.next()
	b.next()
	return err
}

func (d *treeDiff) onlyBefore(a *treeWalk) error {
	if a.item.page != 0 {
		a.open()
		return nil
	}
	err := d.copy.remove(&a.item)
	a.next()
	return err
}

func (d *treeDiff) onlyNow(b *treeWalk) error {
	if b.item.page != 0 {
		b.open()
		return nil
	}
	err := d.added(&b.item)
	b.next()
	return err
}

func (d *treeDiff) added(item *treeItem) error {
	if !item.bucket {
		return d.copy.put(item.key, item.value)
	}
	b, err := d.r.asBucket(item)
	if err != nil {
		return err
	}
	if err := d.copy.create(item.key, b.sequence); err != nil {
		return err
	}
	return d.inside(item.key, nil, b)
}

func (d *treeDiff) changed(x, y *treeItem) error {
	switch {
	case x.bucket != y.bucket:
		if err := d.copy.remove(x); err != nil {
			return err
		}
		return d.added(y)
	case bytes.Equal(x.value, y.value): // of a bucket: it has the same root, or lies within the value
		return nil
	case !y.bucket:
		return d.copy.put(y.key, y.value)
	}
	before, err := d.r.asBucket(x)
	if err != nil {
		return err
	}
	now, err := d.r.asBucket(y)
	if err != nil {
		return err
	}
	if before.sequence != now.sequence {
		if err := d.copy.sequence(y.key, now.sequence); err != nil {
			return err
		}
	}
	return d.inside(y.key, before, now)
}

// inside compares within a bucket.
func (d *treeDiff) inside(name []byte, before, now *treeBucket) error {
	if err := d.copy.enter(name); err != nil {
		return err
	}
	if err := d.bring(before, now); err != nil {
		return err
	}
	d.copy.leave()
	return nil
}
