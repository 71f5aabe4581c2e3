package dashboard

// diskSpace is the room on the disk of the file.
type diskSpace struct {
	Known      bool
	Free, Size uint64 // bytes
}
