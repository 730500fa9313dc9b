package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quantile of delays, in microseconds; it sorts them.
func quantile(delays []time.Duration, q float64) float64 {
	slices.Sort(delays)
	return float64(delays[int(q*float64(len(delays)-1)+0.5)]) / float64(time.Microsecond)
}

// measureDown: the origin sends a chunk now and then; how old is each when the
// client has it?
func measureDown(_ context.Context, b *bench, i *instance) (values, error) {
	s := &session{route: i.route}
	defer s.close()
	if err := s.connect(time.Now().Add(time.Duration(b.plan.Chunks)*b.plan.Gap + patience)); err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/drip/%d/%s", b.plan.Chunks, b.plan.Gap)
	head, err := s.roundTrip(i.route.request("GET", i.route.name, path, ""))
	if err != nil {
		return nil, err
	}
	body, err := head.stream(s.in)
	if err != nil {
		return nil, err
	}
	var delays []time.Duration
	for message := make([]byte, messageSize); ; {
		if _, err := io.ReadFull(body, message); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		delay, err := delayOf(message)
		if err != nil {
			return nil, err
		}
		delays = append(delays, delay)
	}
	return delayValues("down", delays, b.plan.Chunks)
}

// stream is a response's body as it comes.
func (h responseHead) stream(in *bufio.Reader) (io.Reader, error) {
	switch {
	case h.status != 200:
		return nil, fmt.Errorf("the answer was %d", h.status)
	case h.chunked:
		return httputil.NewChunkedReader(in), nil
	case h.length >= 0:
		return nil, errors.New("a streamed answer was given a length: it was stored whole")
	}
	return in, nil
}

func delayValues(row string, delays []time.Duration, want int) (values, error) {
	if len(delays) != want {
		return nil, fmt.Errorf("%d chunks of %d arrived", len(delays), want)
	}
	return values{row + "-p50": quantile(delays, 0.5), row + "-p99": quantile(delays, 0.99)}, nil
}

const chunkedUpload = "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"

// measureUp: the client sends a chunk now and then; how old is each when the
// origin has it? The origin tells at the end.
func measureUp(ctx context.Context, b *bench, i *instance) (values, error) {
	s := &session{route: i.route}
	defer s.close()
	if err := s.connect(time.Now().Add(time.Duration(b.plan.Chunks)*b.plan.Gap + patience)); err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(i.route.request("POST", i.route.name, "/sink", chunkedUpload)); err != nil {
		return nil, err
	}
	for range b.plan.Chunks {
		pause(ctx, b.plan.Gap)
		if err := writeChunk(s.conn, stamp()); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(s.conn, lastChunk); err != nil {
		return nil, err
	}
	head, err := readResponseHead(s.in)
	if err != nil {
		return nil, err
	}
	delays, err := readDelays(head, s.in)
	if err != nil {
		return nil, err
	}
	return delayValues("up", delays, b.plan.Chunks)
}

func readDelays(h responseHead, in *bufio.Reader) ([]time.Duration, error) {
	body := io.Reader(in)
	if h.length >= 0 {
		body = io.LimitReader(in, h.length)
	} else if h.chunked {
		body = httputil.NewChunkedReader(in)
	}
	text, err := io.ReadAll(body)
	if err != nil || h.status != 200 {
		return nil, errors.Join(err, fmt.Errorf("the upload was answered with %d", h.status))
	}
	var delays []time.Duration
	for line := range strings.Lines(string(text)) {
		n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return nil, err
		}
		delays = append(delays, time.Duration(n))
	}
	return delays, nil
}

// measureDuplex: each message is sent when the last has come back, in one
// exchange. What does not come back ends it; the count of turns is then the
// result, and the error says why.
func measureDuplex(_ context.Context, b *bench, i *instance) (values, error) {
	s := &session{route: i.route}
	defer s.close()
	if err := s.connect(time.Now().Add(b.plan.Patience)); err != nil {
		return nil, err
	}
	trips, err := pingPong(s, b.plan.Trips, b.plan.Patience)
	found := values{"duplex-turns": float64(len(trips))}
	if len(trips) == b.plan.Trips {
		found["duplex-p50"] = quantile(trips, 0.5)
		found["duplex-p99"] = quantile(trips, 0.99)
		return found, nil
	}
	return found, fmt.Errorf("after %d turns: %w", len(trips), err)
}

func pingPong(s *session, turns int, patience time.Duration) (trips []time.Duration, err error) {
	if _, err := s.conn.Write(s.route.request("POST", s.route.name, "/echo", chunkedUpload)); err != nil {
		return nil, err
	}
	var body io.Reader
	back := make([]byte, messageSize)
	for range turns {
		sent := time.Now()
		if err := s.conn.SetDeadline(sent.Add(patience)); err != nil {
			return trips, err
		}
		if err := writeChunk(s.conn, stamp()); err != nil {
			return trips, err
		}
		if body == nil {
			head, err := readResponseHead(s.in)
			if err != nil {
				return trips, err
			}
			if body, err = head.stream(s.in); err != nil {
				return trips, err
			}
		}
		if _, err := io.ReadFull(body, back); err != nil {
			return trips, err
		}
		trips = append(trips, time.Since(sent))
	}
	io.WriteString(s.conn, lastChunk)
	return trips, nil
}
