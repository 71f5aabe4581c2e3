package stint

import (
	"cmp"
	"slices"
)

// KindInfo describes the jobs of one kind.
type KindInfo struct {
	Name string
	Counts
	Processed uint64 // jobs completed since the file was made
	Failed    uint64 // attempts that failed since then
	Died      uint64 // jobs that became Dead since then

	Handled bool   // this process has a handler for it
	Policy  Policy // of the handler, with its defaults; zero without one
}

// Kinds describes all kinds that have ever had a job, or have a handler, by
// name. It reads memory only.
func (q *Queue) Kinds() []KindInfo {
	q.mu.RLock()
	defer q.mu.RUnlock()
	byName := map[string]*KindInfo{}
	info := func(name string) *KindInfo {
		if byName[name] == nil {
			byName[name] = &KindInfo{Name: name}
		}
		return byName[name]
	}
	for name, h := range q.handlers {
		ki := info(name)
		ki.Handled, ki.Policy = true, h.policy
	}
	for key, ln := range q.lanes {
		ki := info(key.kind)
		ki.add(q.countsOf(ln))
		ki.Processed += uint64(ln.n[totalProcessed])
		ki.Failed += uint64(ln.n[totalFailed])
		ki.Died += uint64(ln.n[totalDied])
	}
	for _, e := range q.live {
		ki := info(e.rec.kind)
		ki.Running++
		ki.Ready--
	}
	list := make([]KindInfo, 0, len(byName))
	for _, ki := range byName {
		ki.Ready = max(ki.Ready, 0) // CompleteTx is seen a moment late
		list = append(list, *ki)
	}
	slices.SortFunc(list, func(a, b KindInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
