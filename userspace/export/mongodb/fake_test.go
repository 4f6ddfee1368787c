package mongodb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"weir/userspace/traffic"
)

// listen serves connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

// answer is what a server says to a command; the command's name is the key of its first element.
type answer func(command string) bson.D

// fake is a server that can do nothing but answer as it is told, in MongoDB's wire protocol.
func fake(t *testing.T, say answer) (address string) {
	const (
		opReply   = 1
		opQuery   = 2004
		opMessage = 2013
	)
	return listen(t, func(c net.Conn) {
		for {
			var header [16]byte // length, request, response to, kind: 4 bytes each, the lowest first
			if _, err := io.ReadFull(c, header[:]); err != nil {
				return
			}
			body := make([]byte, min(binary.LittleEndian.Uint32(header[:]), 1<<20)-16)
			if _, err := io.ReadFull(c, body); err != nil {
				return
			}
			// Where the command's document begins, and what stands before that of the answer.
			kind, document, head := uint32(opMessage), body[5:], make([]byte, 5)
			if binary.LittleEndian.Uint32(header[12:]) == opQuery {
				name := bytes.IndexByte(body[4:], 0) // flags, the collection's name, two numbers
				kind, document, head = opReply, body[4+name+1+8:], make([]byte, 20)
				head[16] = 1 // one document
			}
			var command bson.D
			if err := bson.Unmarshal(document[:binary.LittleEndian.Uint32(document)], &command); err != nil || len(command) == 0 {
				return
			}
			reply, err := bson.Marshal(say(command[0].Key))
			if err != nil {
				return
			}
			out := make([]byte, 0, 16+len(head)+len(reply))
			out = binary.LittleEndian.AppendUint32(out, uint32(16+len(head)+len(reply)))
			out = binary.LittleEndian.AppendUint32(out, 1)
			out = append(out, header[4:8]...)
			out = binary.LittleEndian.AppendUint32(out, kind)
			if _, err := c.Write(append(append(out, head...), reply...)); err != nil {
				return
			}
		}
	})
}

// hello is the answer to a greeting and to most that is well.
func hello() bson.D {
	return bson.D{
		{Key: "ok", Value: 1.0}, {Key: "ismaster", Value: true}, {Key: "isWritablePrimary", Value: true}, {Key: "helloOk", Value: true},
		{Key: "minWireVersion", Value: int32(0)}, {Key: "maxWireVersion", Value: int32(21)}, {Key: "maxBsonObjectSize", Value: int32(16 << 20)},
		{Key: "maxMessageSizeBytes", Value: int32(48_000_000)}, {Key: "maxWriteBatchSize", Value: int32(100_000)}, {Key: "n", Value: int32(8)},
	}
}

// obedient is a server that takes everything and has nothing.
func obedient(command string) bson.D {
	if command == "listIndexes" {
		return append(hello(), bson.E{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "weir.attacks"}, {Key: "firstBatch", Value: bson.A{}}}})
	}
	return hello()
}

func refusal(code int32, name string) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: "it is " + name}, {Key: "code", Value: code}, {Key: "codeName", Value: name}}
}

// badUpdate is the answer to updates of which one is refused.
func badUpdate(index, code int32) bson.D {
	return append(hello(), bson.E{Key: "writeErrors", Value: bson.A{bson.D{{Key: "index", Value: index}, {Key: "code", Value: code}, {Key: "errmsg", Value: "refused"}}}})
}

// TestRefusals: what a server refuses is told with what can be done, and with what has been written all the same.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name      string
		command   string
		reply     bson.D
		unsent    int
		permanent bool
		want      string
	}{
		{"password", "saslStart", refusal(18, "AuthenticationFailed"), 3, false, "check username, password and auth_source"},
		{"role for indexes", "createIndexes", refusal(13, "Unauthorized"), 3, false, "create indexes in MongoDB at"},
		{"role", "update", refusal(13, "Unauthorized"), 3, false, "give the user the role readWrite of database weir"},
		{"secondary", "update", refusal(10107, "NotWritablePrimary"), 3, false, "set replica_set"},
		{"one that is invalid", "update", badUpdate(2, 121), 2, true, "see what validates the documents of collection attacks"},
		{"one that is too large", "update", badUpdate(4, 17419), 1, true, "refused"},
		{"one for another reason", "update", badUpdate(5, 11601), 1, false, "write attacks to MongoDB at"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Addresses: []string{fake(t, func(command string) bson.D {
				if command == tt.command {
					return tt.reply
				}
				return obedient(command)
			})}}
			if tt.command == "saslStart" {
				o.Username, o.Password, o.Mechanism = "weir", "hidden", Plain
			}
			err := tell(t, newSink(t, o), change("a", traffic.ChangeStarted, 0), change("b", traffic.ChangeStarted, 0), change("c", traffic.ChangeStarted, 0))
			var u *Unsent
			switch {
			case !errors.As(err, &u):
				t.Fatalf("got %v", err)
			case u.Unsent() != tt.unsent:
				t.Errorf("%d unsent, want %d", u.Unsent(), tt.unsent)
			case errors.Is(err, traffic.ErrPermanent) != tt.permanent:
				t.Errorf("permanent: %t: %v", !tt.permanent, err)
			case !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hidden"):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestTroubles: whatever a server does, a call ends in time, with an error that names the server.
func TestTroubles(t *testing.T) {
	for _, tt := range []struct {
		name    string
		address func() string
	}{
		{"away", func() string { return free(t) }},
		{"hangs", func() string { return listen(t, func(net.Conn) { <-t.Context().Done() }) }},
		{"closes", func() string { return listen(t, func(net.Conn) {}) }},
		{"garbage", func() string {
			return listen(t, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
		}},
		{"hangs in the middle", func() string {
			return fake(t, func(command string) bson.D {
				if command == "update" {
					<-t.Context().Done()
				}
				return obedient(command)
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := tt.address()
			s := newSink(t, Options{Addresses: []string{address}, Username: "weir", Password: "hidden", Mechanism: Plain})
			if tt.name == "hangs in the middle" {
				s = newSink(t, Options{Addresses: []string{address}})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			err := s.Tell(ctx, []traffic.Change{change("a", traffic.ChangeStarted, 0)})
			if err == nil || !strings.Contains(err.Error(), "MongoDB at "+address) || strings.Contains(err.Error(), "hidden") || errors.Is(err, traffic.ErrPermanent) {
				t.Errorf("got %v", err)
			}
			if tt.name == "away" && !strings.Contains(err.Error(), "refused") {
				t.Errorf("it is not told why: %v", err)
			}
		})
	}
}
