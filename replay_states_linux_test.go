package stint_test

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// Which states of a disk are tried: of an epoch with up to 8 effects under way
// all subsets; of others prefixes, suffixes, all but one, only one, and
// subsets by chance; and all of these with one effect torn between sectors.
// States are told apart by their content, and taken from all epochs by turns.

const allSubsetsOf = 8

// choice is one state that a power cut may leave.
type choice struct {
	epoch   *epoch
	names   int    // how many changes of names have come through
	kept    []bool // of effects
	torn    int    // the effect that has come through in some sectors only, or -1
	sectors uint8
}

// underway are the effects that a choice is about, in an order that is always
// the same.
func (e *epoch) underway(names int) (files []*inode, effects []*effect) {
	for _, name := range slices.Sorted(maps.Keys(e.names[names])) {
		if f := e.names[names][name]; !slices.Contains(files, f) {
			files = append(files, f)
			effects = append(effects, e.files[f].pending...)
		}
	}
	return files, effects
}

// build is the content of each file.
func (c *choice) build() map[string]*image {
	images := map[*inode]*image{}
	files, _ := c.epoch.underway(c.names)
	i := 0
	for _, f := range files {
		im := c.epoch.files[f].safe.clone()
		for _, e := range c.epoch.files[f].pending {
			switch {
			case i == c.torn:
				e.apply(im, c.sectors)
			case c.kept[i]:
				e.apply(im, allSectors)
			}
			i++
		}
		images[f] = im
	}
	found := map[string]*image{}
	for name, f := range c.epoch.names[c.names] {
		found[name] = images[f]
	}
	return found
}

// fingerprint tells contents apart.
func fingerprint(files map[string]*image) uint64 {
	h := uint64(0)
	for i, name := range slices.Sorted(maps.Keys(files)) {
		im := files[name]
		sum := newBlock([]byte(name)).hash + uint64(im.size)*0x9e3779b97f4a7c15
		for at, b := range im.blocks {
			if b != nil {
				sum += (b.hash ^ uint64(at)*0xbf58476d1ce4e5b9) * 0x94d049bb133111eb
			}
		}
		h ^= (sum + uint64(i)) * 0xd6e8feb86659fd93
	}
	return h
}

// write puts the files into an empty directory. Blocks of zeros stay holes.
func writeImages(dir string, files map[string]*image) error {
	for name, im := range files {
		f, err := os.OpenFile(filepath.Join(dir, filepath.Base(name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		err = f.Truncate(im.size)
		for at, b := range im.blocks {
			if b != nil && err == nil {
				data := b.data[:min(blockSize, im.size-int64(at)*blockSize)]
				_, err = f.WriteAt(data, int64(at)*blockSize)
			}
		}
		if err = cmp.Or(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// tries are the choices of one epoch that are still to be tried.
type tries struct {
	epoch *epoch
	rng   *rand.Rand
	list  []choice
	vain  int // choices in a row that were nothing new
}

func newTries(e *epoch, rng *rand.Rand) *tries {
	s := &tries{epoch: e, rng: rng}
	for names := range e.names {
		_, effects := e.underway(names)
		s.subsets(names, len(effects))
	}
	rest := s.list[1:] // the first one is that nothing has come through
	rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return s
}

func (s *tries) add(names, n int, keep func(i int) bool) {
	c := choice{s.epoch, names, make([]bool, n), -1, 0}
	for i := range c.kept {
		c.kept[i] = keep(i)
	}
	s.list = append(s.list, c)
}

func (s *tries) subsets(names, n int) {
	if n <= allSubsetsOf {
		for mask := range 1 << n {
			s.add(names, n, func(i int) bool { return mask>>i&1 == 1 })
		}
		return
	}
	s.add(names, n, func(int) bool { return false })
	s.add(names, n, func(int) bool { return true })
	for at := range n {
		if at > 0 {
			s.add(names, n, func(i int) bool { return i < at })
			s.add(names, n, func(i int) bool { return i >= at })
		}
		s.add(names, n, func(i int) bool { return i == at })
		s.add(names, n, func(i int) bool { return i != at })
	}
}

// next is the next choice, or nil when there seem to be no new ones.
func (s *tries) next() *choice {
	if len(s.list) > 0 {
		c := s.list[0]
		s.list = s.list[1:]
		if len(c.kept) > 0 && s.rng.IntN(4) == 0 && slices.Contains(c.kept, true) {
			s.list = append(s.list, c) // whole later on
			s.tear(&c)
		}
		return &c
	}
	if s.vain > 50 {
		return nil
	}
	names := s.rng.IntN(len(s.epoch.names))
	_, effects := s.epoch.underway(names)
	if len(effects) == 0 {
		s.vain++
		return nil
	}
	share := []float64{0.1, 0.5, 0.9}[s.rng.IntN(3)]
	s.add(names, len(effects), func(int) bool { return s.rng.Float64() < share })
	c := s.list[0]
	s.list = nil
	if s.rng.IntN(2) == 0 {
		s.tear(&c)
	}
	return &c
}

func (s *tries) tear(c *choice) {
	c.torn = s.rng.IntN(len(c.kept))
	part := uint8(allSectors) << (1 + s.rng.IntN(7))
	c.sectors = []uint8{part, ^part, uint8(s.rng.IntN(allSectors))}[s.rng.IntN(3)]
}

// trial is a state that is to be checked.
type trial struct {
	choice
	at int // of the epoch
}

// choose takes states from all epochs by turns until it has found as many
// different ones as are wanted. Of equal ones only those are checked again
// that come later, when more has been said.
func choose(epochs []*epoch, wanted int, rng *rand.Rand) (trials []trial, distinct int) {
	seen := map[uint64]int{}
	sources := make([]*tries, len(epochs))
	for i, e := range epochs {
		sources[i] = newTries(e, rng)
	}
	order := rng.Perm(len(epochs))
	for first, more := true, true; more && (first || distinct < wanted); first = false {
		more = false
		for _, i := range order {
			if !first && distinct >= wanted {
				break
			}
			c := sources[i].next()
			if c == nil {
				continue
			}
			more = true
			key := fingerprint(c.build())
			said, known := seen[key]
			if known && said >= c.epoch.facts {
				sources[i].vain++
				continue
			}
			sources[i].vain = 0
			if !known {
				distinct++
			}
			seen[key] = c.epoch.facts
			trials = append(trials, trial{*c, i})
		}
	}
	return trials, distinct
}
