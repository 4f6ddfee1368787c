package config

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const examplePath = "../../weir.example.yaml"

func readExample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestExample: what new operators start from is valid, without a warning, also where it is loaded from its own folder.
func TestExample(t *testing.T) {
	c, err := Load(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("got warnings:\n%s", Errors(c.Warnings).Error())
	}
	if len(c.Hostgroups) < 2 || len(c.Networks.Prefixes) == 0 || len(c.Interfaces) == 0 {
		t.Errorf("got %d hostgroups, %d networks, %d interfaces: the example shows too little", len(c.Hostgroups), len(c.Networks.Prefixes), len(c.Interfaces))
	}
}

// TestExampleWithoutComments: the lines that are commented out in the example are right as well.
func TestExampleWithoutComments(t *testing.T) {
	text := regexp.MustCompile(`(?m)^( +)# (- \{)`).ReplaceAllString(string(readExample(t)), "$1$2")
	c, err := Parse("weir.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Interfaces) != 3 || c.Interfaces[2].Pair != "eth1" {
		t.Errorf("got interfaces %v, want the commented pair too", c.Interfaces)
	}
}

// TestExampleNamesEveryKey puts a key that nobody expects into each mapping of the example: the errors list the expected ones.
func TestExampleNamesEveryKey(t *testing.T) {
	data := readExample(t)
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	addProbes(&document)
	probed, err := yaml.Marshal(&document)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("weir.yaml", probed, nil)
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %v, want Errors", err)
	}
	keys := make(map[string]bool)
	for _, e := range errs {
		if _, list, ok := strings.Cut(e.Message, "; expected one of "); ok {
			for _, key := range strings.Split(list, ", ") {
				keys[key] = true
			}
		}
	}
	if len(keys) < 60 {
		t.Errorf("got %d keys from the errors, want all of them:\n%v", len(keys), err)
	}
	for key := range keys {
		if !regexp.MustCompile(`(?m)(^|[\s{,])` + key + `:`).Match(data) {
			t.Errorf("the example does not show the key %q", key)
		}
	}
}

// addProbes adds an unexpected key to every mapping below n.
func addProbes(n *yaml.Node) {
	for _, child := range n.Content {
		addProbes(child)
	}
	if n.Kind == yaml.MappingNode {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "probe"}, &yaml.Node{Kind: yaml.ScalarNode, Tag: nullTag})
	}
}
