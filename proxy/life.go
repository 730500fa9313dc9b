package proxy

import (
	"context"
	"sync"
)

// life is that of a client's connection, until it is given up; its methods may be called
// by others. A context is made of it when somebody asks for one: what the pool serves
// waits for nothing but its sockets, and would pay for it on each new connection.
type life struct {
	mu     sync.Mutex
	over   bool
	ctx    context.Context // nil: nobody has asked
	cancel context.CancelFunc
}

// context ends with the life.
func (l *life) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
		if l.over {
			l.cancel()
		}
	}
	return l.ctx
}

// stop ends it.
func (l *life) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.cancel != nil {
		l.cancel()
	}
}

// stopped reports whether it has ended.
func (l *life) stopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}
