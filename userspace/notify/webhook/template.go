package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/netip"
	"strings"
	"text/template"
	"time"

	"weir/userspace/eventjson"
	"weir/userspace/traffic"
)

// maxBody is how long a template's result may be.
const maxBody = 1 << 20

var errLong = errors.New("the result is longer than 1 MiB; write less")

// Template makes bodies of changes.
type Template struct {
	template *template.Template
	json     bool // the result has to be JSON
}

// Compile reads a text/template whose data is the change's JSON form: {{.kind}}, {{.id}}, {{.analysis.class}} and so on; a key that a change lacks is empty. The function
// json writes any value as JSON, so that texts are quoted: {"text": {{json .kind}}}. The template is tried on an example; for a content type of JSON the result
// has to be valid JSON. An error says the line.
func Compile(text, contentType string) (*Template, error) {
	t, err := template.New("body").Option("missingkey=zero").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	}}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read webhook template: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("use webhook content type %q: %w; give one such as application/json", contentType, err)
	}
	out := &Template{template: t, json: kind == "application/json" || strings.HasSuffix(kind, "+json")}
	example, err := eventjson.Change(exampleChange())
	if err != nil {
		return nil, err
	}
	if _, err := out.render(example); err != nil {
		return nil, err
	}
	return out, nil
}

// ParseTemplate reports what is wrong with a template for a body of a content type, as Compile would.
func ParseTemplate(text, contentType string) error {
	_, err := Compile(text, contentType)
	return err
}

// render makes the body of a change in its JSON form.
func (t *Template) render(change []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(change))
	d.UseNumber() // large counters stay as they are
	var data map[string]any
	if err := d.Decode(&data); err != nil {
		return nil, fmt.Errorf("use webhook template: %w", err)
	}
	var b bounded
	if err := t.template.Execute(&b, data); err != nil {
		if errors.Is(err, errLong) {
			err = errLong
		}
		return nil, fmt.Errorf("use webhook template: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	body := b.Bytes()
	if t.json {
		var raw json.RawMessage
		if err := json.Unmarshal(body, &raw); err != nil {
			return nil, fmt.Errorf("use webhook template: its result is not JSON: %w; write texts as {{json .key}}, or set another content type", err)
		}
	}
	return body, nil
}

type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxBody {
		return 0, errLong
	}
	return b.Buffer.Write(p)
}

// exampleChange is what templates are tried on. Nothing in it is measured.
func exampleChange() *traffic.Change {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	host := netip.MustParseAddr("192.0.2.7")
	counts := traffic.Counts{Total: traffic.Count{Packets: 52_000, Bytes: 52_000_000}}
	return &traffic.Change{
		Kind: traffic.ChangeBanned, At: at, Group: "servers", Report: "IP: 192.0.2.7\n",
		Record: traffic.Record{
			Attack: traffic.Attack{
				ID: "20260102-1", Target: traffic.Target{Prefix: netip.PrefixFrom(host, 32), Group: "servers"},
				Trip:  traffic.Trip{Metric: traffic.PPS, Count: 52_000, Window: time.Second, Value: 52_000, Limit: 20_000},
				Phase: traffic.PhaseMitigated, Started: at, Detected: at, Peak: counts, Volume: counts, Hosts: 1,
				Analysis: &traffic.Analysis{At: at, Samples: 100, Class: "dns_amplification", Confidence: 0.97, Sources: "reflectors"},
			},
			Ban: traffic.Ban{Since: at, Drop: true},
		},
		Sources: []traffic.SourceShare{{Source: netip.MustParseAddr("203.0.113.9"), Share: 0.125, AS: 64500, ASName: "Example", Country: "DE"}},
	}
}
