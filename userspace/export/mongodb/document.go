package mongodb

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"weir/userspace/eventjson"
	"weir/userspace/fastnetmon"
	"weir/userspace/traffic"
)

// writes are what is done to the collection for a change: nothing, or updates that come to the same however often they are made.
func (o *Options) writes(c *traffic.Change) ([]mongo.WriteModel, error) {
	if o.FastNetMon {
		return o.fastNetMon(c)
	}
	text, err := eventjson.Change(c)
	if err != nil {
		return nil, unwritable(c, err)
	}
	document, err := parse(text)
	if err != nil {
		return nil, unwritable(c, err)
	}
	if o.Instance != "" {
		document = append(document, bson.E{Key: "instance", Value: o.Instance})
	}
	id := o.id(c)
	update := bson.D{{Key: "$set", Value: document}, {Key: "$addToSet", Value: bson.D{{Key: "changes", Value: step(c)}}}}
	if c.Record.Held == "" {
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "held", Value: ""}}}) // it no longer is
	}
	tooMany := bson.D{{Key: "_id", Value: id}, {Key: fmt.Sprintf("changes.%d", o.Changes), Value: bson.D{{Key: "$exists", Value: true}}}}
	return []mongo.WriteModel{
		mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).SetUpdate(update).SetUpsert(true),
		mongo.NewUpdateOneModel().SetFilter(tooMany).SetUpdate(bson.D{{Key: "$pop", Value: bson.D{{Key: "changes", Value: -1}}}}),
	}, nil
}

func unwritable(c *traffic.Change, err error) error {
	return fmt.Errorf("write attack %s as a document: %w: %w", c.Record.Attack.ID, traffic.ErrPermanent, err)
}

// id is an attack's _id.
func (o *Options) id(c *traffic.Change) string {
	if o.Instance == "" {
		return c.Record.Attack.ID
	}
	return o.Instance + "/" + c.Record.Attack.ID
}

// step is what the list of changes says of one.
func step(c *traffic.Change) bson.D {
	a := &c.Record.Attack
	rate := &a.Rate.Incoming
	if a.Target.Direction == traffic.Outgoing {
		rate = &a.Rate.Outgoing
	}
	d := bson.D{
		{Key: "kind", Value: c.Kind.String()}, {Key: "time", Value: bson.NewDateTimeFromTime(c.At)}, {Key: "phase", Value: a.Phase.String()},
		{Key: "packets", Value: int64(rate.Total.Packets)}, {Key: "bytes", Value: int64(rate.Total.Bytes)},
	}
	if c.Record.Ban.Active() {
		d = append(d, bson.E{Key: "does", Value: c.Record.Ban.Does()})
	}
	if c.Record.Held != "" {
		d = append(d, bson.E{Key: "held", Value: c.Record.Held})
	}
	if a.Analysis != nil {
		d = append(d, bson.E{Key: "class", Value: a.Analysis.Class})
	}
	return d
}

// parse reads JSON, in which times become dates.
func parse(text []byte) (bson.D, error) {
	var d bson.D
	if err := bson.UnmarshalExtJSON(text, false, &d); err != nil {
		return nil, err
	}
	dates(d)
	return d, nil
}

// dates puts dates in place of times that are text.
func dates(value any) {
	switch v := value.(type) {
	case bson.A:
		for _, element := range v {
			dates(element)
		}
	case bson.D:
		for i := range v {
			text, is := v[i].Value.(string)
			if !is {
				dates(v[i].Value)
				continue
			}
			switch v[i].Key {
			case "time", "started", "detected", "ended", "since", "until", "lifted", "at":
				if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
					v[i].Value = bson.NewDateTimeFromTime(t)
				}
			}
		}
	}
}

// fastNetMon writes one document for a ban; packets that are gathered later are added to it.
func (o *Options) fastNetMon(c *traffic.Change) ([]mongo.WriteModel, error) {
	switch {
	case c.Record.Ban.DryRun:
		return nil, nil
	case c.Kind == traffic.ChangeBanned:
	case c.Kind == traffic.ChangeDetails && len(c.Packets) > 0 && !c.Record.Ban.Since.IsZero():
	default:
		return nil, nil
	}
	since := c.Record.Ban.Since
	if since.IsZero() {
		since = c.At
	}
	text, err := fastnetmon.Document(fastnetmon.Ban, c)
	if err != nil {
		return nil, unwritable(c, err)
	}
	var document bson.D
	if err := bson.UnmarshalExtJSON(text, false, &document); err != nil {
		return nil, unwritable(c, err)
	}
	id := bson.D{{Key: "_id", Value: objectID(since, o.id(c))}}
	field := bson.D{{Key: fastnetmon.Field(c.Record.Attack.Target, since), Value: document}}
	return []mongo.WriteModel{mongo.NewUpdateOneModel().SetFilter(id).SetUpdate(bson.D{{Key: "$set", Value: field}}).SetUpsert(true)}, nil
}

// objectID makes an ObjectID of a time in seconds, as its kind has it, and of a name, so that the same document is written when it is told again.
func objectID(at time.Time, name string) (id bson.ObjectID) {
	binary.BigEndian.PutUint32(id[:4], uint32(at.Unix()))
	hash := sha256.Sum256([]byte(name))
	copy(id[4:], hash[:])
	return id
}
