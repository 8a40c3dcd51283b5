package main

import (
	"bufio"
	"encoding/json"
	"io"
)

// event is one JSON line.
type event map[string]any

// with adds the entries of more.
func (e event) with(more event) event {
	for key, value := range more {
		e[key] = value
	}
	return e
}

// log is the client's own account. A goroutine of its own writes it, so that a slow reader never shows in the
// times of a send.
type log struct {
	events chan event
	ended  chan struct{}
}

func newLog(out io.Writer) *log {
	l := &log{events: make(chan event, 1<<16), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		buffered := bufio.NewWriterSize(out, 1<<16)
		encoder := json.NewEncoder(buffered)
		for e := range l.events {
			_ = encoder.Encode(e)
			if len(l.events) == 0 {
				_ = buffered.Flush()
			}
		}
		_ = buffered.Flush()
	}()
	return l
}

func (l *log) write(e event) {
	l.events <- e
}

// close writes what is left.
func (l *log) close() {
	close(l.events)
	<-l.ended
}
