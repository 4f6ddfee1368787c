// Command fields prints the fields of all messages of GoBGP 4's API, one a line: message, field, number, kind, and whether it is a list.
package main

import (
	"fmt"

	"github.com/osrg/gobgp/v4/api"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func main() {
	for _, file := range []protoreflect.FileDescriptor{api.File_api_gobgp_proto, api.File_api_common_proto} {
		messages := file.Messages()
		for i := range messages.Len() {
			m := messages.Get(i)
			for j := range m.Fields().Len() {
				f := m.Fields().Get(j)
				fmt.Println(m.Name(), f.Name(), f.Number(), f.Kind(), f.IsList())
			}
		}
	}
}
