// Loader drives unary gRPC calls, or follows streams (watch.go), from outside the server's process, at a fraction of the server's cost a call.
//
// It knows no messages: it sends the bodies of a file in turn, each as it stands but for its request id, which is made
// anew for every call. It prints what it measured as one line of JSON.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Stands in a body where the request id is to be. Version 0 is no UUID that anybody uses.
const placeholder = "00000000-0000-0000-0000-000000000000"

type options struct {
	address, method, bodies      string
	connections, inFlight, calls int
	seconds, warmUp, perSecond   float64
	watchers, idle, events       int
	latencies                    bool
	ca, cert, key, token         string
}

type result struct {
	Calls         int            `json:"calls"`
	WarmUpCalls   int            `json:"warm_up_calls"`
	Failures      int            `json:"failures"`
	Statuses      map[string]int `json:"statuses"`
	Seconds       float64        `json:"seconds"`
	CallsPerSec   float64        `json:"calls_per_second"`
	P50Micros     float64        `json:"p50_us"`
	P99Micros     float64        `json:"p99_us"`
	ResponseBytes float64        `json:"response_bytes"`
}

func main() {
	var o options
	flag.StringVar(&o.address, "address", "127.0.0.1:50051", "where the server listens")
	flag.StringVar(&o.method, "method", "", "the full method, as /package.Service/Method")
	flag.StringVar(&o.bodies, "bodies", "", "a file of request bodies, each after its length in 4 bytes, big-endian")
	flag.IntVar(&o.connections, "connections", 4, "connections to spread the calls over")
	flag.IntVar(&o.inFlight, "in-flight", 64, "calls under way at a time")
	flag.IntVar(&o.calls, "calls", 0, "end after so many calls instead of after -seconds")
	flag.Float64Var(&o.seconds, "seconds", 3, "how long to measure")
	flag.Float64Var(&o.warmUp, "warm-up", 0.5, "seconds of the same load before that, not measured")
	flag.Float64Var(&o.perSecond, "per-second", 0, "at most so many calls a second; 0 for as many as there can be")
	flag.IntVar(&o.watchers, "watchers", 0, "instead of calls, so many streams")
	flag.IntVar(&o.idle, "idle", 0, "of the watchers, how many read nothing")
	flag.IntVar(&o.events, "events", 0, "end when each watcher has had so many events, instead of with standard input")
	flag.BoolVar(&o.latencies, "latencies", false, "watchers measure how long each event took from its record time")
	flag.StringVar(&o.ca, "ca", "", "a file of authorities: use TLS")
	flag.StringVar(&o.cert, "cert", "", "a file with a client's certificate")
	flag.StringVar(&o.key, "key", "", "a file with its key")
	flag.StringVar(&o.token, "token", "", "send this token with each call")
	flag.Parse()
	do := run
	if o.watchers > 0 {
		do = watch
	}
	if err := do(o); err != nil {
		fmt.Fprintln(os.Stderr, "loader:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	bodies, err := readBodies(o.bodies)
	if err != nil {
		return err
	}
	connections, err := connect(o)
	if err != nil {
		return err
	}
	l := &load{options: o, bodies: bodies, connections: connections, begin: time.Now()}
	var warm []worker
	if o.warmUp > 0 {
		warm, _ = l.drive(time.Duration(o.warmUp*float64(time.Second)), 0)
	}
	measured, took := l.drive(time.Duration(o.seconds*float64(time.Second)), o.calls)
	return json.NewEncoder(os.Stdout).Encode(summary(warm, measured, took))
}

func readBodies(path string) ([]body, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var bodies []body
	for len(data) > 0 {
		if len(data) < 4 || len(data)-4 < int(binary.BigEndian.Uint32(data)) {
			return nil, fmt.Errorf("%s ends within a body", path)
		}
		end := 4 + int(binary.BigEndian.Uint32(data))
		bodies = append(bodies, newBody(data[4:end]))
		data = data[end:]
	}
	if len(bodies) == 0 {
		return nil, fmt.Errorf("%s holds no bodies", path)
	}
	return bodies, nil
}

func transport(o options) (credentials.TransportCredentials, error) {
	if o.ca == "" {
		return insecure.NewCredentials(), nil
	}
	authorities, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authorities)
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

func connect(o options) ([]*grpc.ClientConn, error) {
	secured, err := transport(o)
	if err != nil {
		return nil, err
	}
	connections := make([]*grpc.ClientConn, o.connections)
	for i := range connections {
		connection, err := grpc.NewClient("passthrough:///"+o.address,
			grpc.WithTransportCredentials(secured),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
		if err != nil {
			return nil, err
		}
		connections[i] = connection
	}
	return connections, nil
}

type load struct {
	options
	bodies      []body
	connections []*grpc.ClientConn
	sent, paced atomic.Int64
	begin       time.Time
}

// worker has one call under way at a time, and what became of its calls.
type worker struct {
	micros   []float64
	failures map[string]int
	bytes    int
}

// drive keeps inFlight calls under way for the time, or until there were so many calls, and waits for the last answer.
func (l *load) drive(length time.Duration, calls int) ([]worker, time.Duration) {
	workers := make([]worker, l.inFlight)
	var started atomic.Int64
	begin := time.Now()
	more := func() bool { return time.Since(begin) < length }
	if calls > 0 {
		more = func() bool { return started.Add(1) <= int64(calls) }
	}
	var all sync.WaitGroup
	for i := range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			l.work(&workers[i], l.connections[i%len(l.connections)], more)
		}()
	}
	all.Wait()
	return workers, time.Since(begin)
}

func (l *load) work(w *worker, connection *grpc.ClientConn, more func() bool) {
	w.failures = map[string]int{}
	ctx := context.Background()
	if l.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+l.token)
	}
	for more() {
		l.pace()
		request := l.bodies[(l.sent.Add(1)-1)%int64(len(l.bodies))].next()
		var response []byte
		begin := time.Now()
		err := connection.Invoke(ctx, l.method, &request, &response)
		w.micros = append(w.micros, float64(time.Since(begin).Nanoseconds())/1000)
		w.bytes += len(response)
		if err != nil {
			w.failures[status.Code(err).String()+": "+status.Convert(err).Message()]++
		}
	}
}

// pace waits for this call's turn, where there are to be only so many a second.
func (l *load) pace() {
	if l.perSecond > 0 {
		turn := time.Duration(float64(l.paced.Add(1)) / l.perSecond * float64(time.Second))
		time.Sleep(turn - time.Since(l.begin))
	}
}

func summary(warm, measured []worker, took time.Duration) result {
	r := result{Statuses: map[string]int{}, Seconds: took.Seconds()}
	var micros []float64
	bytes := 0
	for _, w := range measured {
		micros = append(micros, w.micros...)
		bytes += w.bytes
	}
	for _, w := range append(warm, measured...) {
		r.WarmUpCalls += len(w.micros)
		for text, count := range w.failures {
			r.Failures += count
			r.Statuses[text] += count
		}
	}
	r.Calls = len(micros)
	r.WarmUpCalls -= r.Calls
	if r.Calls > 0 {
		slices.Sort(micros)
		r.CallsPerSec = float64(r.Calls) / r.Seconds
		r.P50Micros = micros[r.Calls/2]
		r.P99Micros = micros[r.Calls*99/100]
		r.ResponseBytes = float64(bytes) / float64(r.Calls)
	}
	return r
}

// body is a request as it is to be sent, and where its request ids are: a batch has many.
type body struct {
	data []byte
	ids  []int
}

func newBody(data []byte) body {
	return body{data, indicesOf(data, placeholder)}
}

func indicesOf(data []byte, text string) []int {
	var found []int
	for i := 0; i+len(text) <= len(data); i++ {
		if string(data[i:i+len(text)]) == text {
			found = append(found, i)
		}
	}
	return found
}

// next is the body with request ids of its own: random, and marked as UUIDs of version 4.
func (b body) next() []byte {
	if len(b.ids) == 0 {
		return b.data
	}
	sent := slices.Clone(b.data)
	for _, at := range b.ids {
		copy(sent[at:], newID())
	}
	return sent
}

func newID() []byte {
	high, low := rand.Uint64()&^0xf000|0x4000, rand.Uint64()>>2|1<<63
	return fmt.Appendf(nil, "%08x-%04x-%04x-%04x-%012x",
		high>>32, high>>16&0xffff, high&0xffff, low>>48, low&0xffffffffffff)
}

// raw passes bytes as they are, under the name that servers know.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
