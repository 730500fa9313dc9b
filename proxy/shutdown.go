package proxy

import (
	"context"
	"slices"
)

// Shutdown stops accepting, closes idle connections, lets open passages finish
// until ctx ends and then cuts them. It returns when every connection is gone,
// with ctx's error where some had to be cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	for ln := range s.listeners {
		ln.Close()
	}
	open := slices.Clone(s.clients)
	s.mu.Unlock()
	for _, c := range open {
		c.closeIfIdle()
	}
	gone := make(chan struct{})
	go func() {
		s.busy.Wait()
		close(gone)
	}()
	var err error
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		s.cutAll()
		<-gone
	}
	s.dismiss()
	s.keeper.Close()
	s.pool.close()
	return err
}

// cutAll ends every passage, and closes the connections that carry none.
func (s *Server) cutAll() {
	s.breakOff(func(p *passage) func() { return p.stop("shutdown") })
	s.mu.Lock()
	open := slices.Clone(s.clients)
	s.mu.Unlock()
	for _, c := range open {
		closeAtOnce(c.conn)
	}
}

// Review asks every open passage of the policy now in force, and ends those that
// it would not permit. Call it after each change of the policy, and once a
// second where rules have a last day.
func (s *Server) Review() {
	now, inForce := s.deps.Now(), s.deps.Policy.Policy()
	s.breakOff(func(p *passage) func() { return p.review(inForce, now) })
}

// breakOff stops the open passages that stop picks, and then breaks them off.
func (s *Server) breakOff(stop func(*passage) (cut func())) {
	var cuts []func()
	for _, p := range s.passages.all() {
		if cut := stop(p); cut != nil {
			cuts = append(cuts, cut)
		}
	}
	for _, cut := range cuts {
		cut()
	}
}
