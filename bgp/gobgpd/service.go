package gobgpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"weir/bgp/gobgpd/gobgppb"
)

// callTime is how long gobgpd may take to answer.
const callTime = 10 * time.Second

// service is one version of GoBGP's API: where it is called, and the numbers of its enumerations.
type service struct {
	version     int
	prefix      string // of methods
	globalTable int32  // TableType
	exactPrefix int32  // TableLookupPrefix.Type
}

func services() []service {
	return []service{
		{version: 3, prefix: "/apipb.GobgpApi/", globalTable: 0, exactPrefix: 0},
		{version: 4, prefix: "/api.GoBgpService/", globalTable: 1, exactPrefix: 1},
	}
}

// caller calls gobgpd by one version of its API.
type caller struct {
	service
	conn *grpc.ClientConn
}

// greet finds out which version gobgpd speaks, and who it is.
func greet(ctx context.Context, conn *grpc.ClientConn) (caller, *gobgppb.Global, error) {
	var err error
	for _, s := range services() {
		c := caller{s, conn}
		var response gobgppb.GetBgpResponse
		if err = c.call(ctx, "GetBgp", &gobgppb.Empty{}, &response); err == nil {
			return c, response.GetGlobal(), nil
		}
		if status.Code(err) != codes.Unimplemented {
			break
		}
	}
	return caller{}, nil, err
}

func (c caller) call(ctx context.Context, method string, request, response proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return c.conn.Invoke(ctx, c.prefix+method, request, response)
}

// do sends one request of the book.
func (c caller) do(ctx context.Context, j job) error {
	if j.add {
		return c.call(ctx, "AddPath", &gobgppb.AddPathRequest{TableType: c.globalTable, Path: j.path}, &gobgppb.Empty{})
	}
	path, isPath := proto.Clone(j.path).(*gobgppb.Path)
	if !isPath || len(path.GetNlriBinary()) == 0 {
		return errors.New("there is no path to be deleted") // without one gobgpd would delete all of them
	}
	path.IsWithdraw = true
	return c.call(ctx, "DeletePath", &gobgppb.DeletePathRequest{TableType: c.globalTable, Family: path.GetFamily(), Path: path}, &gobgppb.Empty{})
}

// peers asks for the neighbors of this GoBGP.
func (c caller) peers(ctx context.Context) ([]Peer, error) {
	var all []Peer
	err := list(ctx, c, "ListPeer", &gobgppb.Empty{}, func(r *gobgppb.ListPeerResponse) {
		s := r.GetPeer().GetState()
		all = append(all, Peer{Address: s.GetNeighborAddress(), AS: s.GetPeerAsn(), Session: session(s.GetSessionState())})
	})
	return all, err
}

// session is the name of GoBGP's number for a session's state.
func session(number int32) string {
	names := []string{"unknown", "idle", "connect", "active", "opensent", "openconfirm", "established"}
	if number >= 0 && int(number) < len(names) {
		return names[number]
	}
	return fmt.Sprintf("state %d", number)
}

// paths asks for what the global table has of one family that this GoBGP was told by API, of prefixes if there are any.
func (c caller) paths(ctx context.Context, family *gobgppb.Family, prefixes []string) ([]*gobgppb.Path, error) {
	request := &gobgppb.ListPathRequest{TableType: c.globalTable, Family: family, EnableOnlyBinary: true}
	for _, p := range prefixes {
		request.Prefixes = append(request.Prefixes, &gobgppb.TableLookupPrefix{Prefix: p, Type: c.exactPrefix})
	}
	var all []*gobgppb.Path
	err := list(ctx, c, "ListPath", request, func(r *gobgppb.ListPathResponse) {
		for _, p := range r.GetDestination().GetPaths() {
			if own(p.GetNeighborIp()) {
				p.Family = family
				all = append(all, p)
			}
		}
	})
	return all, err
}

// own reports whether a path is not from a neighbor. GoBGP prints the address that it has not.
func own(neighbor string) bool {
	return neighbor == "" || neighbor == "<nil>" || neighbor == "invalid IP"
}

// list calls a method that answers by a stream.
func list[M any, R interface {
	*M
	proto.Message
}](ctx context.Context, c caller, method string, request proto.Message, each func(R)) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, c.prefix+method)
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(request), stream.CloseSend()); err != nil {
		return err
	}
	for {
		response := R(new(M))
		switch err := stream.RecvMsg(response); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		each(response)
	}
}
