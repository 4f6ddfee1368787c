package influxdb_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/userspace/export/influxdb"
	"weir/userspace/traffic"
)

type request struct {
	Method, Path, Authorization, Encoding string
	Query                                 map[string][]string
	Body                                  string
}

// server remembers requests and answers as it is told.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
	answer   http.HandlerFunc
}

func serve(t testing.TB, answer http.HandlerFunc) *server {
	s := &server{answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, request{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Encoding"), r.URL.Query(), string(b)})
	s.mu.Unlock()
	s.answer(w, r)
}

func (s *server) took() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.requests
	s.requests = nil
	return taken
}

func stored(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// TestForms checks requests against the documented forms of versions 1, 2 and 3. Of 2 and 3 there is no server in Debian, so this is all that they are held
// against: docs.influxdata.com, "Write data with the InfluxDB API" of InfluxDB OSS v2, and "Use the v3 write_lp API to write data" of InfluxDB 3 Core.
func TestForms(t *testing.T) {
	s := serve(t, stored)
	for _, tt := range []struct {
		name    string
		options influxdb.Options
		want    request
	}{
		{"1", influxdb.Options{}, request{Path: "/write", Query: map[string][]string{"db": {"fastnetmon"}, "precision": {"ns"}}}},
		{"1 with all", influxdb.Options{Database: "a&b", RetentionPolicy: "week", User: "u", Password: "p:q"},
			request{Path: "/write", Authorization: "Basic dTpwOnE=", Query: map[string][]string{"db": {"a&b"}, "rp": {"week"}, "precision": {"ns"}}}},
		{"2", influxdb.Options{Version: influxdb.V2, Org: "my org", Bucket: "b/c", Token: "T0=="},
			request{Path: "/api/v2/write", Authorization: "Token T0==", Query: map[string][]string{"org": {"my org"}, "bucket": {"b/c"}, "precision": {"ns"}}}},
		{"3", influxdb.Options{Version: influxdb.V3, Database: "d", Token: "apiv3_x", Gzip: true},
			request{Path: "/api/v3/write_lp", Authorization: "Bearer apiv3_x", Encoding: "gzip", Query: map[string][]string{"db": {"d"}, "precision": {"nanosecond"}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Address = s.URL + "/"
			sink := open(t, tt.options)
			if err := sink.Push(limited(t), &traffic.Snapshot{Time: at()}); err != nil {
				t.Fatal(err)
			}
			got := s.took()
			if len(got) != 1 {
				t.Fatalf("%d requests; want 1", len(got))
			}
			if first, _, _ := strings.Cut(got[0].Body, "\n"); !strings.HasPrefix(first, "total_traffic,direction=incoming packets=0,bits=0,flows=0,udp_packets=0,") ||
				!strings.HasSuffix(first, " 1763900000000000000") {
				t.Errorf("first line %q", first)
			}
			got[0].Body, tt.want.Method = "", http.MethodPost
			if diff := cmp.Diff(tt.want, got[0]); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLines(t *testing.T) {
	s := serve(t, stored)
	sink := open(t, influxdb.Options{Address: s.URL, Brief: true, Tags: map[string]string{"weir": "a b", "at": "x\n"}})
	if err := sink.Push(limited(t), example()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(s.took()[0].Body) {
		if !strings.HasPrefix(line, "total_") {
			got = append(got, line)
		}
	}
	const tags, stamp, both = `,at=x_,weir=a\ b`, " 1763900000000000000\n",
		" packets_incoming=5000,packets_outgoing=6000,bits_incoming=40008,bits_outgoing=48008,flows_incoming=5002,flows_outgoing=6002"
	want := []string{
		"networks_traffic" + tags + ",network=192.0.2.0/24" + both + stamp,
		"networks_ipv6_traffic" + tags + ",network=2001:db8::/32 packets_incoming=0,packets_outgoing=0,bits_incoming=0,bits_outgoing=0,flows_incoming=0,flows_outgoing=0" + stamp,
		"hostgroups_traffic" + tags + `,hostgroup=web\,\ "a"\ \=\ b_` + both + stamp,
		"hosts_traffic" + tags + ",host=192.0.2.1 packets_incoming=7000,packets_outgoing=8000,bits_incoming=56008,bits_outgoing=64008,flows_incoming=7002,flows_outgoing=8002" + stamp,
		"hosts_traffic" + tags + ",host=192.0.2.64/28 packets_incoming=1,packets_outgoing=0,bits_incoming=800,bits_outgoing=0,flows_incoming=0,flows_outgoing=0" + stamp,
		"hosts_ipv6_traffic" + tags + ",host=2001:db8::1 packets_incoming=0,packets_outgoing=9.223372036854776e+18,bits_incoming=0,bits_outgoing=3.6893488147419103e+19,flows_incoming=0,flows_outgoing=3" + stamp,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestAttackIsAPointForEachChange(t *testing.T) {
	s := serve(t, stored)
	sink := open(t, influxdb.Options{Address: s.URL})
	group := change(traffic.ChangeBanned, time.Nanosecond)
	a := &group.Record.Attack
	a.Target = traffic.Target{Scope: traffic.ScopeGroup, Group: "web", Direction: traffic.Outgoing}
	a.Analysis, a.Manual = nil, true
	group.Record.Ban = traffic.Ban{Since: at(), Drop: true, Reason: "because\nof \"them\""}
	if err := sink.Tell(limited(t), []traffic.Change{change(traffic.ChangeStarted, 0), group}); err != nil {
		t.Fatal(err)
	}
	got := strings.SplitAfter(strings.TrimSuffix(s.took()[0].Body, "\n"), "\n")
	const numbers = "peak=60000,peak_bits=5.6e+07,peak_flows=50,packets=104000,volume_bits=9.6e+07,dropped=0,"
	const trip = "pps: 5200 packets counted, 52000 packets/s > 20000 packets/s x 1s"
	want := []string{
		"attacks,direction=incoming,host=192.0.2.7,hostgroup=web,kind=started,scope=host pps=52000,bits=4.8e+07,flows=40," + numbers +
			`duration=2,hosts=1,id="a-1",phase="active",class="dns_amplification",reason="` + trip +
			`",text="attack on 192.0.2.7 (incoming) started: dns_amplification; ` + trip + "\" 1763900000123456789\n",
		"attacks,direction=outgoing,hostgroup=web,kind=banned,scope=hostgroup pps=0,bits=0,flows=0," + numbers +
			`duration=2.000000001,hosts=1,id="a-1",phase="active",response="drop",reason="because of \"them\"",` +
			`text="attack from hostgroup web (outgoing) banned: because of \"them\"" 1763900000123456790`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
