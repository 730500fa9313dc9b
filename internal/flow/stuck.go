package flow

// Stuck is why no new piece of the file can be begun, so that lines go on into the
// present one; nil: it can, as far as is known.
func (l *Log) Stuck() error {
	if err := l.stuck.Load(); err != nil {
		return *err
	}
	return nil
}

// tellOfStuck says once that no new piece can be begun, and once that it can again.
func (l *Log) tellOfStuck() {
	f, ok := l.Out.(interface{ Stuck() error })
	if !ok {
		return
	}
	switch err, before := f.Stuck(), l.stuck.Load() != nil; {
	case err != nil && !before:
		l.Logger.Warn(l.Name+": no new piece can be begun; lines go on into the present one, as long as all pieces "+
			"stay within their bound: look at the folder, its permissions, and the descriptors of the process", "err", err)
		l.stuck.Store(&err)
	case err == nil && before:
		l.Logger.Warn(l.Name + ": a new piece was begun again")
		l.stuck.Store(nil)
	}
}
