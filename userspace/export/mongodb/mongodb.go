// Package mongodb keeps attacks in MongoDB, or in what speaks its protocol: one document per attack, or FastNetMon's documents.
//
// The document of an attack has the keys of the JSON that package eventjson describes, as of its last change, with times as dates. Its _id is the attack's id,
// behind "INSTANCE/" where there is an instance, which then is a key, too. The array changes has the last changes in short: kind, time, phase, packets and
// bytes per second in the attack's direction, and where there are such: does, held, class.
//
// FastNetMon's document has beside its _id one key, ADDRESS_information_TIME, with its JSON. It is written when a target is banned,
// not in a dry run: who reads it takes the target to be banned.
package mongodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"weir/userspace/traffic"
)

// Sink writes to MongoDB. Its methods are called by one goroutine at a time.
type Sink struct {
	options Options
	client  *mongo.Client // nil: not connected
	indexed bool
}

// New checks the options. It connects to nothing.
func New(o Options) (*Sink, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.client().Validate(); err != nil {
		return nil, fmt.Errorf("set options of MongoDB: %w", err)
	}
	return &Sink{options: o}, nil
}

// Unsent is an error that the last changes of a call have not been written. What stands before them has been.
type Unsent struct {
	last int
	err  error
}

func (u *Unsent) Error() string { return u.err.Error() }
func (u *Unsent) Unwrap() error { return u.err }

// Unsent is how many of the last changes the sink has not taken.
func (u *Unsent) Unsent() int { return u.last }

// Tell writes changes in their order. Its error has a method Unsent that says how many of the last have not been written.
// To tell a change twice does no harm.
func (s *Sink) Tell(ctx context.Context, changes []traffic.Change) error {
	if err := s.connect(); err != nil {
		return &Unsent{last: len(changes), err: err}
	}
	collection := s.client.Database(s.options.Database).Collection(s.options.Collection)
	if err := s.index(ctx, collection); err != nil {
		return &Unsent{last: len(changes), err: err}
	}
	var models []mongo.WriteModel
	var of []int // the change that a model is for
	var problem *Unsent
	for i := range changes {
		add, err := s.options.writes(&changes[i])
		if err != nil {
			problem = &Unsent{last: len(changes) - i, err: err} // those before it are written all the same
			break
		}
		for range add {
			of = append(of, i)
		}
		models = append(models, add...)
	}
	if len(models) > 0 {
		if _, err := collection.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(true)); err != nil {
			done := 0
			var bulk mongo.BulkWriteException
			if errors.As(err, &bulk) && len(bulk.WriteErrors) > 0 && bulk.WriteErrors[0].Index < len(of) {
				done = of[bulk.WriteErrors[0].Index] // in order: nothing behind it was tried
			}
			return &Unsent{last: len(changes) - done, err: s.explain("write attacks to", err)}
		}
	}
	if problem != nil {
		return problem
	}
	return nil
}

// connect sets up the client, which connects by itself when it is used, and again after a failure.
func (s *Sink) connect() error {
	if s.client != nil {
		return nil
	}
	client, err := mongo.Connect(s.options.client())
	if err != nil {
		return s.explain("connect to", err)
	}
	s.client = client
	return nil
}

// index creates what attacks are looked for by, as far as it is not there: then a user who may create none will do.
func (s *Sink) index(ctx context.Context, collection *mongo.Collection) error {
	if s.indexed || s.options.NoIndexes || s.options.FastNetMon {
		return nil
	}
	there, err := collection.Indexes().ListSpecifications(ctx)
	if err != nil {
		return s.explain("list indexes in", err)
	}
	var missing []mongo.IndexModel
	for _, key := range []string{"", "target", "hostgroup"} {
		name, keys := "started_-1", bson.D{{Key: "started", Value: -1}}
		if key != "" {
			name, keys = key+"_1_"+name, append(bson.D{{Key: key, Value: 1}}, keys...)
		}
		if !slices.ContainsFunc(there, func(i mongo.IndexSpecification) bool { return i.Name == name }) {
			missing = append(missing, mongo.IndexModel{Keys: keys, Options: options.Index().SetName(name)})
		}
	}
	if len(missing) > 0 {
		if _, err := collection.Indexes().CreateMany(ctx, missing); err != nil {
			return s.explain("create indexes in", err)
		}
	}
	s.indexed = true
	return nil
}

// Codes of MongoDB's errors (src/mongo/base/error_codes.yml).
const (
	unauthorized          = 13
	authenticationFailed  = 18
	documentInvalid       = 121
	notWritablePrimary    = 10107
	bsonObjectTooLarge    = 10334
	notPrimaryNoSecondary = 13435
	updateTooLarge        = 17419
)

// explain names the server, and what can be done where the server says what is wrong.
func (s *Sink) explain(what string, err error) error {
	where := fmt.Sprintf("%s MongoDB at %s", what, strings.Join(s.options.Addresses, ", "))
	var answer mongo.ServerError
	has := func(codes ...int) bool {
		return errors.As(err, &answer) && slices.ContainsFunc(codes, answer.HasErrorCode)
	}
	switch {
	case has(documentInvalid, bsonObjectTooLarge, updateTooLarge):
		return fmt.Errorf("%s: %w: %w; see what validates the documents of collection %s", where, traffic.ErrPermanent, err, s.options.Collection)
	case has(unauthorized):
		return fmt.Errorf("%s: %w; give the user the role readWrite of database %s, and see that there is a username", where, err, s.options.Database)
	case has(authenticationFailed), strings.Contains(err.Error(), "auth error"):
		return fmt.Errorf("%s: %w; check username, password and auth_source", where, err)
	case has(notWritablePrimary, notPrimaryNoSecondary):
		return fmt.Errorf("%s: %w; set replica_set, so that the primary is looked for", where, err)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// Close closes the connections.
func (s *Sink) Close() error {
	if s.client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.client.Disconnect(ctx)
	s.client = nil
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("disconnect from MongoDB at %s: %w", strings.Join(s.options.Addresses, ", "), err)
	}
	return nil
}
