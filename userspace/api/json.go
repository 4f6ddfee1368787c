package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// AppendJSON appends a message as JSON for scripts: every field under its name in weir.proto and in that order, numbers as numbers,
// enumerations as the names that configuration and metrics use ("incoming", "tcp_syn_pps"; "" when unspecified), times as RFC 3339 with
// nanoseconds and durations in seconds, null where a message is absent. (The JSON of the API itself is protobuf's canonical one.)
func AppendJSON(b []byte, m proto.Message) ([]byte, error) {
	switch m := m.(type) {
	case *timestamppb.Timestamp:
		return strconv.AppendQuote(b, m.AsTime().Format(time.RFC3339Nano)), nil
	case *durationpb.Duration:
		return strconv.AppendFloat(b, m.AsDuration().Seconds(), 'f', -1, 64), nil
	}
	message := m.ProtoReflect()
	fields := message.Descriptor().Fields()
	b = append(b, '{')
	for i := range fields.Len() {
		field := fields.Get(i)
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, string(field.Name())), ':')
		var err error
		if b, err = appendField(b, message, field); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendField(b []byte, message protoreflect.Message, field protoreflect.FieldDescriptor) ([]byte, error) {
	if !field.IsList() {
		if field.Message() != nil && !message.Has(field) {
			return append(b, "null"...), nil
		}
		return appendValue(b, field, message.Get(field))
	}
	list := message.Get(field).List()
	b = append(b, '[')
	for i := range list.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, field, list.Get(i)); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendValue(b []byte, field protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return AppendJSON(b, v.Message().Interface())
	case protoreflect.EnumKind:
		return strconv.AppendQuote(b, enumName(field.Enum(), v.Enum())), nil
	case protoreflect.StringKind:
		text, err := json.Marshal(v.String())
		return append(b, text...), err
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool()), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case protoreflect.DoubleKind:
		if math.IsNaN(v.Float()) || math.IsInf(v.Float(), 0) {
			return append(b, "null"...), nil
		}
		return strconv.AppendFloat(b, v.Float(), 'f', -1, 64), nil
	}
	return nil, fmt.Errorf("write field %s: kind %s is not known", field.FullName(), field.Kind())
}

// enumName turns METRIC_TCP_SYN_PPS of enum Metric into tcp_syn_pps.
func enumName(enum protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	value := enum.Values().ByNumber(n)
	if value == nil {
		return strconv.Itoa(int(n))
	}
	if n == 0 {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(string(value.Name()), strings.ToUpper(string(enum.Name()))+"_"))
}

// EnumName is the name of an enumeration's value as AppendJSON writes it.
func EnumName(e protoreflect.Enum) string { return enumName(e.Descriptor(), e.Number()) }
