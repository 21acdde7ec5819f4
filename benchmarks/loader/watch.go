package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// Of a response: its events are the field 1. Of an event: when it was recorded is the field 4, a Timestamp.
const (
	eventsField     = 1
	recordTimeField = 4
)

type watchResult struct {
	Events       int64   `json:"events"`
	Messages     int64   `json:"messages"`
	Bytes        int64   `json:"bytes"`
	Seconds      float64 `json:"seconds"`
	EventsPerSec float64 `json:"events_per_second"`
	P50Micros    float64 `json:"p50_us"`
	P99Micros    float64 `json:"p99_us"`
}

// watcher follows one stream. It decodes nothing but what is counted.
type watcher struct {
	events, messages, bytes int64
	first, last             time.Time
	micros                  []float64
}

// watch opens the streams, says "ready" once each has had its first response, and reads until each has had so many
// events, or until standard input ends. Idlers read nothing after their first response.
func watch(o options) error {
	bodies, err := readBodies(o.bodies)
	if err != nil {
		return err
	}
	connections, err := connect(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var ready, done sync.WaitGroup
	var failure atomic.Value
	watchers := make([]watcher, o.watchers)
	for i := range watchers {
		ready.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			idle := i < o.idle
			stream, err := open(ctx, connections[i%len(connections)], o.method, bodies[i%len(bodies)].data)
			ready.Done()
			if err == nil && !idle {
				err = watchers[i].read(stream, int64(o.events), o.latencies)
			}
			if idle {
				<-ctx.Done()
			}
			if err != nil && ctx.Err() == nil {
				failure.Store(err)
				cancel()
			}
		}()
	}
	ready.Wait()
	fmt.Println("ready")
	if o.events == 0 {
		go func() {
			buffer := make([]byte, 1)
			os.Stdin.Read(buffer)
			cancel()
		}()
	}
	done.Wait()
	if err, failed := failure.Load().(error); failed {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(watched(watchers))
}

// open returns a stream that has had its first response.
func open(ctx context.Context, to *grpc.ClientConn, method string, request []byte) (grpc.ClientStream, error) {
	stream, err := to.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&request); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	var confirmation []byte
	return stream, stream.RecvMsg(&confirmation)
}

func (w *watcher) read(stream grpc.ClientStream, events int64, latencies bool) error {
	w.first = time.Now()
	for events == 0 || w.events < events {
		var response []byte
		if err := stream.RecvMsg(&response); err != nil {
			return err
		}
		w.last = time.Now()
		w.messages++
		w.bytes += int64(len(response))
		fields(response, func(number uint64, event []byte) {
			if number != eventsField {
				return
			}
			w.events++
			if latencies {
				w.micros = append(w.micros, float64(w.last.Sub(recordTime(event)).Nanoseconds())/1000)
			}
		})
	}
	return nil
}

// recordTime is when an event was recorded, which is before it was committed.
func recordTime(event []byte) time.Time {
	var seconds, nanos uint64
	fields(event, func(number uint64, value []byte) {
		if number == recordTimeField {
			varints(value, func(number, value uint64) {
				switch number {
				case 1:
					seconds = value
				case 2:
					nanos = value
				}
			})
		}
	})
	return time.Unix(int64(seconds), int64(nanos))
}

// fields tells of a message's fields that have a length.
func fields(message []byte, tell func(number uint64, value []byte)) {
	for len(message) > 0 {
		tag, size := binary.Uvarint(message)
		message = message[size:]
		value, size := binary.Uvarint(message)
		message = message[size:]
		if tag&7 == 2 {
			tell(tag>>3, message[:value])
			message = message[value:]
		}
	}
}

// varints tells of the fields of a message that has no others.
func varints(message []byte, tell func(number, value uint64)) {
	for len(message) > 0 {
		tag, size := binary.Uvarint(message)
		message = message[size:]
		value, size := binary.Uvarint(message)
		message = message[size:]
		tell(tag>>3, value)
	}
}

func watched(watchers []watcher) watchResult {
	var r watchResult
	var micros []float64
	var first, last time.Time
	for _, w := range watchers {
		r.Events += w.events
		r.Messages += w.messages
		r.Bytes += w.bytes
		micros = append(micros, w.micros...)
		if w.messages > 0 && (first.IsZero() || w.first.Before(first)) {
			first = w.first
		}
		if w.last.After(last) {
			last = w.last
		}
	}
	if r.Events > 0 {
		r.Seconds = last.Sub(first).Seconds()
		r.EventsPerSec = float64(r.Events) / r.Seconds
	}
	if len(micros) > 0 {
		slices.Sort(micros)
		r.P50Micros = micros[len(micros)/2]
		r.P99Micros = micros[len(micros)*99/100]
	}
	return r
}
