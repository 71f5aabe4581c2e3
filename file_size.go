package stint

import (
	"os"
	"runtime/debug"
)

// fileSize is the size of the file, and how much of it is free: pages that
// hold nothing now, and what lies behind the last one.
func (s *store) fileSize() (size, free int64) {
	var f Stats
	s.fill(&f)
	return f.FileSize, f.FileFree
}

// fill is what Stats tells of the file. It does not look through it: bbolt
// counts the free pages at the end of each write transaction.
func (s *store) fill(out *Stats) {
	f, err := s.pin()
	if err != nil {
		return
	}
	defer f.use.RUnlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := f.begin(false) // so that the database is not closed meanwhile
	if err != nil {
		return
	}
	defer func() { _ = tx.Rollback() }()
	used, pageSize := tx.Size(), f.db.Info().PageSize
	stats := f.db.Stats()
	pages := int64(stats.FreePageN + stats.PendingPageN)
	out.FileSize = max(f.length(), used)
	out.FileFree = min(pages*int64(pageSize)+out.FileSize-used, out.FileSize)
	f.written(tx).fill(out, pageSize)
}

// length is that of the file as the system has it, or 0.
func (f *openedFile) length() int64 {
	var info os.FileInfo
	var err error
	if f.file != nil {
		info, err = f.file.Stat()
	} else {
		info, err = os.Stat(f.db.Path())
	}
	if err != nil {
		return 0 // the application has moved it, or it is being replaced
	}
	return info.Size()
}
