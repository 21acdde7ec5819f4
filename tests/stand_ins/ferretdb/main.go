// Command ferretdb is a MongoDB for tests: FerretDB on SQLite, behind a gate.
//
// FerretDB 1.24 on SQLite is not atomic under concurrency, not even for one document: concurrent $inc lose counts and
// a compare-and-set has several winners. The gate lets one wire message, and the reply to it, through at a time,
// whichever connection it comes from; what a test then sees of one document is what MongoDB promises.
//
// FerretDB's hello names no topologyVersion, so drivers poll it and never leave a hello waiting in the gate.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

const (
	headerBytes     = 16
	maxMessageBytes = 48_000_000
	opMsg           = 2013
	flagMoreToCome  = 1 << 1
)

func main() {
	listen := flag.String("listen", "127.0.0.1:27017", "address to serve MongoDB's protocol on")
	dir := flag.String("dir", "", "directory that keeps the data (required)")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*listen, *dir); err != nil {
		log.Fatalf("ferretdb stand-in: %v", err)
	}
}

func run(listen, dir string) error {
	if dir == "" {
		return errors.New("-dir is required")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	// The gate listens first: the address belongs to this process before the database is opened.
	gate, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	backend, finished, err := startFerretDB(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Printf("ferretdb stand-in ready on %s\n", gate.Addr())
	go serve(gate, backend)
	<-ctx.Done()
	gate.Close()
	<-finished
	return nil
}

// startFerretDB runs FerretDB on a loopback port of its own and returns that address.
func startFerretDB(ctx context.Context, dir string) (string, <-chan struct{}, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	database, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + absolute + "/",
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return "", nil, err
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if err := database.Run(ctx); err != nil {
			log.Printf("ferretdb: %v", err)
		}
	}()
	uri, err := url.Parse(database.MongoDBURI())
	if err != nil {
		return "", nil, err
	}
	return uri.Host, finished, nil
}

func serve(gate net.Listener, backend string) {
	var turn sync.Mutex
	for {
		client, err := gate.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			if err := relay(client, backend, &turn); err != nil && !gone(err) {
				log.Printf("gate: %v", err)
			}
		}()
	}
}

// relay carries one client's messages to a FerretDB connection of its own, each under the common turn.
func relay(client net.Conn, backend string, turn *sync.Mutex) error {
	server, err := net.Dial("tcp", backend)
	if err != nil {
		return err
	}
	defer server.Close()
	for {
		request, err := readMessage(client)
		if err != nil {
			return err
		}
		silent := askForReply(request)
		reply, err := exchange(server, request, turn)
		if err != nil {
			return err
		}
		if silent {
			continue
		}
		if _, err := client.Write(reply); err != nil {
			return err
		}
	}
}

func exchange(server net.Conn, request []byte, turn *sync.Mutex) ([]byte, error) {
	turn.Lock()
	defer turn.Unlock()
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	return readMessage(server)
}

// askForReply clears moreToCome, by which a client says that it wants no reply: without a reply the gate could not
// tell when the message is done. It reports whether the reply has to be dropped.
func askForReply(message []byte) bool {
	if binary.LittleEndian.Uint32(message[12:]) != opMsg || len(message) < headerBytes+4 {
		return false
	}
	flags := binary.LittleEndian.Uint32(message[headerBytes:])
	binary.LittleEndian.PutUint32(message[headerBytes:], flags&^flagMoreToCome)
	return flags&flagMoreToCome != 0
}

func readMessage(connection net.Conn) ([]byte, error) {
	header := make([]byte, headerBytes)
	if _, err := io.ReadFull(connection, header); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(header)
	if size < headerBytes || size > maxMessageBytes {
		return nil, fmt.Errorf("a message of %d bytes", size)
	}
	message := make([]byte, size)
	copy(message, header)
	_, err := io.ReadFull(connection, message[headerBytes:])
	return message, err
}

// gone tells a client that left, or a stop, from a failure worth a line.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
