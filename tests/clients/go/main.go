// Calls a bank until it stops, and prints how each call ended. See ../programs.py.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type task struct {
	Address string
	Workers int
	Calls   []call
	// Files, for mutual TLS; empty for none.
	Ca, Cert, Key string
}

type call struct {
	Method string
	Body   string
	Stream bool
}

type end struct {
	Method  string `json:"method"`
	Kept    bool   `json:"kept"`
	Answers int    `json:"answers"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details string `json:"details"`
}

// Messages as they are on the wire.
type raw struct{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*(v.(*[]byte)) = data.Materialize()
	return nil
}

func (raw) Name() string { return "proto" }

func main() {
	var t task
	check(json.Unmarshal([]byte(os.Args[1]), &t))
	kept := connect(t)
	var workers sync.WaitGroup
	var ends []end
	var lock sync.Mutex
	work := func(connection *grpc.ClientConn, c call) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			e := callUntilRefused(t, connection, c)
			lock.Lock()
			defer lock.Unlock()
			ends = append(ends, e)
		}()
	}
	for _, c := range t.Calls {
		for range t.Workers {
			work(kept, c)
		}
		work(nil, c)
	}
	workers.Wait()
	check(json.NewEncoder(os.Stdout).Encode(ends))
}

func callUntilRefused(t task, kept *grpc.ClientConn, c call) end {
	body, err := hex.DecodeString(c.Body)
	check(err)
	for answers := 0; ; answers++ {
		connection := kept
		if connection == nil {
			connection = connect(t)
		}
		trailer, err := callOnce(connection, c, body)
		if kept == nil {
			connection.Close()
		}
		if err != nil {
			details := ""
			if packed := trailer.Get("grpc-status-details-bin"); len(packed) > 0 {
				details = hex.EncodeToString([]byte(packed[0]))
			}
			s := status.Convert(err)
			return end{c.Method, kept != nil, answers, int(s.Code()), s.Message(), details}
		}
	}
}

func callOnce(connection *grpc.ClientConn, c call, body []byte) (metadata.MD, error) {
	var trailer metadata.MD
	var answer []byte
	if !c.Stream {
		err := connection.Invoke(context.Background(), c.Method, body, &answer, grpc.Trailer(&trailer))
		return trailer, err
	}
	stream, err := connection.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true}, c.Method)
	if err == nil {
		err = stream.SendMsg(body)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	for err == nil {
		err = stream.RecvMsg(&answer)
	}
	if stream != nil {
		trailer = stream.Trailer()
	}
	return trailer, err
}

func connect(t task) *grpc.ClientConn {
	transport := insecure.NewCredentials()
	if t.Ca != "" {
		authority, err := os.ReadFile(t.Ca)
		check(err)
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		check(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(authority)
		transport = credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}})
	}
	connection, err := grpc.NewClient(t.Address, grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	check(err)
	return connection
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
