package proxy

// worker is a goroutine that serves connections, one after another. The stack of a
// goroutine grows three times while its first request is served, which costs a tenth of
// it, and so does memory for what is read and written: one that has served before is
// spared both.
type worker struct {
	desk *desk
	next chan *clientConn // closed when it is to go home
}

// desk is what a worker works with, connection after connection: memory that outlives
// the request whose head and answer lie in it. Nobody else may keep a piece of it.
type desk struct {
	raw  []byte      // the head at hand, in whose bytes head points
	head requestHead // of the request at hand
	out  []byte      // what is about to be written
}

// mostResting is how many workers wait for a connection at most.
const mostResting = 64

// hand gives a connection to the worker that rested last, whose memory the processor
// has at hand, or else to a new one. Busy counts the connection already, so that
// Shutdown waits for it.
func (s *Server) hand(c *clientConn, w *worker) {
	if w != nil {
		w.next <- c // has room for it
		return
	}
	w = &worker{desk: &desk{}, next: make(chan *clientConn, 1)}
	s.crew.Go(func() { s.work(w, c) })
}

func (s *Server) work(w *worker, c *clientConn) {
	for ; c != nil; c = <-w.next {
		c.desk = w.desk
		s.serve(c)
		w.tidy(c.lent)
		if !s.rest(w) {
			return
		}
	}
}

// tidy makes ready for the next connection. Where somebody may still hold on to what
// the last one has read, all of it is left to him. An unusual request shall not cost
// memory for ever: the head goes too, which holds on to the bytes it points into.
func (w *worker) tidy(lent bool) {
	if lent || cap(w.desk.raw)+cap(w.desk.out) > bufferSize {
		w.desk = &desk{}
	}
}

// rested takes the worker that rested last; nil where none rests. s.mu is held.
func (s *Server) rested() *worker {
	last := len(s.resting) - 1
	if last < 0 {
		return nil
	}
	w := s.resting[last]
	s.resting[last] = nil
	s.resting = s.resting[:last]
	return w
}

// rest reports whether a worker may wait for another connection.
func (s *Server) rest(w *worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() || len(s.resting) == mostResting {
		return false
	}
	s.resting = append(s.resting, w)
	return true
}

// dismiss sends home who rests. Nobody rests any more once the gate is draining.
func (s *Server) dismiss() {
	s.mu.Lock()
	for _, w := range s.resting {
		close(w.next)
	}
	s.resting = nil
	s.mu.Unlock()
	s.crew.Wait()
}
