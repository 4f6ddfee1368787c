package influxdb_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/tests/need"
	"weir/userspace/export/influxdb"
	"weir/userspace/traffic"
)

const influxdConf = `reporting-disabled = true
bind-address = "127.0.0.1:%[2]d"
[meta]
  dir = "%[1]s/meta"
[data]
  dir = "%[1]s/data"
  wal-dir = "%[1]s/wal"
  query-log-enabled = false
  max-values-per-tag = 500
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:%[3]d"
  auth-enabled = %[5]t
  log-enabled = false
[[udp]]
  enabled = true
  bind-address = "127.0.0.1:%[4]d"
  database = "datagrams"
  batch-timeout = "20ms"
`

// influxd is Debian's InfluxDB 1.6.
type influxd struct {
	address, udp   string
	user, password string
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// within tries until there is no error, for at most ten seconds.
func within(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func start(t *testing.T, auth bool) *influxd {
	program := need.Tool(t, "influxd", "influxdb")
	dir := t.TempDir()
	rpc, http, udp := freePort(t), freePort(t), freePort(t)
	config := filepath.Join(dir, "influxdb.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, influxdConf, dir, rpc, http, udp, auth), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "-config", config)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("influxd said:\n%s", said[max(0, len(said)-4000):])
		}
		_ = log.Close()
	})
	d := &influxd{address: fmt.Sprintf("http://127.0.0.1:%d", http), udp: fmt.Sprintf("127.0.0.1:%d", udp)}
	within(t, "wait for influxd", func() error {
		_, err := d.query("", "SHOW DATABASES")
		if err != nil && strings.Contains(err.Error(), "create admin user") {
			return nil // it is there and asks for its first user
		}
		return err
	})
	return d
}

type series struct {
	Name    string            `json:"name"`
	Tags    map[string]string `json:"tags"`
	Columns []string          `json:"columns"`
	Values  [][]any           `json:"values"` // numbers as json.Number
}

// query asks without Weir's code in between.
func (d *influxd) query(database, q string) ([]series, error) {
	r, err := http.NewRequest(http.MethodPost, d.address+"/query?epoch=ns&db="+url.QueryEscape(database), strings.NewReader(url.Values{"q": {q}}.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if d.user != "" {
		r.SetBasicAuth(d.user, d.password)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var said struct {
		Error   string
		Results []struct {
			Error  string
			Series []series
		}
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	if err := decoder.Decode(&said); err != nil {
		return nil, fmt.Errorf("%w in %q", err, body)
	}
	if said.Error != "" || len(said.Results) != 1 || said.Results[0].Error != "" {
		return nil, fmt.Errorf("%q answered by %s", q, body)
	}
	return said.Results[0].Series, nil
}

// point returns what a query for one point gives, by column.
func (d *influxd) point(database, q string) (map[string]string, error) {
	all, err := d.query(database, q)
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || len(all[0].Values) != 1 {
		return nil, fmt.Errorf("%q has %v; want one point", q, all)
	}
	got := map[string]string{}
	for i, column := range all[0].Columns {
		if v := all[0].Values[0][i]; v != nil {
			got[column] = fmt.Sprint(v)
		}
	}
	return got, nil
}

func (d *influxd) must(t *testing.T, database, q string) map[string]string {
	t.Helper()
	got, err := d.point(database, q)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// bothWays are the fields of distinct counts, by name: the numbers of the fields of FastNetMon.
func bothWays(in, out int, got map[string]string) map[string]string {
	for suffix, base := range map[string]int{"_incoming": in, "_outgoing": out} {
		for i, name := range []string{"", "udp_", "tcp_", "icmp_", "fragmented_", "tcp_syn_", "dropped_"} {
			n := base
			if i > 0 {
				n += 1 + 2*i
			}
			got[name+"packets"+suffix], got[name+"bits"+suffix] = fmt.Sprint(n), fmt.Sprint((n+1)*8)
		}
		got["flows"+suffix] = fmt.Sprint(base + 2)
	}
	return got
}

// strip leaves the names that totals have: those of one direction without its name.
func strip(fields map[string]string) map[string]string {
	got := map[string]string{}
	for name, value := range fields {
		if short, is := strings.CutSuffix(name, "_incoming"); is {
			got[short] = value
		} else if !strings.HasSuffix(name, "_outgoing") {
			got[name] = value
		}
	}
	return got
}

const second = "1763900000000000000"

// TestInfluxd holds each way to write against the real server, of version 1.
func TestInfluxd(t *testing.T) {
	d := start(t, false)
	for _, tt := range []struct {
		database string
		gzip     bool
	}{{"plain", false}, {`odd "name"`, true}} {
		t.Run(tt.database, func(t *testing.T) {
			sink := open(t, influxdb.Options{Address: d.address, Database: tt.database, Gzip: tt.gzip, Create: true, MostLines: 3})
			if err := sink.Push(limited(t), example()); err != nil {
				t.Fatal(err)
			}
			for q, want := range map[string]map[string]string{
				"SELECT * FROM hosts_traffic WHERE host='192.0.2.1'":     bothWays(7000, 8000, map[string]string{"time": second, "host": "192.0.2.1"}),
				"SELECT * FROM networks_traffic":                         bothWays(5000, 6000, map[string]string{"time": second, "network": "192.0.2.0/24"}),
				"SELECT * FROM hostgroups_traffic":                       bothWays(5000, 6000, map[string]string{"time": second, "hostgroup": `web, "a" = b_`}),
				"SELECT * FROM total_traffic WHERE direction='incoming'": strip(bothWays(1000, 0, map[string]string{"time": second, "direction": "incoming"})),
				"SELECT * FROM total_traffic_ipv6 WHERE direction='outgoing'": strip(bothWays(2100, 0,
					map[string]string{"time": second, "direction": "outgoing"})),
				"SELECT * FROM total_traffic WHERE direction='other'": {"time": second, "direction": "other", "packets": "1300", "bits": "10408"},
				"SELECT packets_outgoing, flows_outgoing FROM hosts_ipv6_traffic WHERE host='2001:db8::1'": {
					"time": second, "packets_outgoing": "9223372036854776000", "flows_outgoing": "3"},
				"SELECT bits_incoming, packets_outgoing FROM hosts_traffic WHERE host='192.0.2.64/28'": {
					"time": second, "bits_incoming": "800", "packets_outgoing": "0"},
			} {
				if diff := cmp.Diff(want, d.must(t, tt.database, q)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", q, diff)
				}
			}
		})
	}
	t.Run("attacks", func(t *testing.T) { attacksAreAnnotations(t, d) })
	t.Run("zero", func(t *testing.T) { lastValueIsZero(t, d) })
	t.Run("udp", func(t *testing.T) { datagramsAreStored(t, d) })
	t.Run("refused", func(t *testing.T) { refusedForGood(t, d) })
	t.Run("retention", func(t *testing.T) { keptForAWhile(t, d) })
}

func attacksAreAnnotations(t *testing.T, d *influxd) {
	sink := open(t, influxdb.Options{Address: d.address, Database: "attacks", Create: true})
	changes := []traffic.Change{change(traffic.ChangeStarted, 0), change(traffic.ChangeEnded, 1)}
	for range 2 { // told again they are the same points
		if err := sink.Tell(limited(t), changes); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"time": "1763900000123456789", "pps": "52000", "bits": "48000000", "peak": "60000", "duration": "2", "class": "dns_amplification",
		"id": "a-1", "host": "192.0.2.7", "hostgroup": "web", "direction": "incoming", "scope": "host"}
	const columns = `pps, bits, peak, "duration", class, id, host, hostgroup, direction, scope`
	if diff := cmp.Diff(want, d.must(t, "attacks", "SELECT "+columns+" FROM attacks WHERE kind='started'")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := d.must(t, "attacks", "SELECT count(id) FROM attacks"); got["count"] != "2" {
		t.Errorf("%s points; want 2", got["count"])
	}
}

func lastValueIsZero(t *testing.T, d *influxd) {
	sink := open(t, influxdb.Options{Address: d.address, Database: "zero", Create: true})
	s := example()
	for i, hosts := range [][]traffic.HostRate{s.Hosts, s.Hosts[1:], nil} {
		if err := sink.Push(limited(t), &traffic.Snapshot{Time: at().Add(time.Duration(i) * time.Second), Hosts: hosts}); err != nil {
			t.Fatal(err)
		}
	}
	got := d.must(t, "zero", "SELECT last(bits_incoming), count(bits_incoming) FROM hosts_traffic WHERE host='192.0.2.1'")
	if got["last"] != "0" || got["count"] != "2" {
		t.Errorf("a host that went silent has %v; want one 0 at its end", got)
	}
}

func datagramsAreStored(t *testing.T, d *influxd) {
	sink := open(t, influxdb.Options{Version: influxdb.UDP, Address: d.udp})
	if err := sink.Push(limited(t), example()); err != nil {
		t.Fatal(err)
	}
	want := bothWays(7000, 8000, map[string]string{"time": second, "host": "192.0.2.1"})
	within(t, "read what datagrams brought", func() error {
		got, err := d.point("datagrams", "SELECT * FROM hosts_traffic WHERE host='192.0.2.1'")
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		return err
	})
}

// refusedForGood has more hosts than the server allows: those that fit are stored, the rest never will be.
func refusedForGood(t *testing.T, d *influxd) {
	sink := open(t, influxdb.Options{Address: d.address, Database: "refused", Create: true, MostLines: 200})
	s := &traffic.Snapshot{Time: at()}
	for i := range 600 {
		s.Hosts = append(s.Hosts, host(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32).String(), rate(1, 1, 1), traffic.Counts{}))
	}
	err := sink.Push(limited(t), s)
	isPermanent(t, err, true, "partial write: max-values-per-tag limit exceeded")
	// How many fit is the server's own estimate.
	var dropped, kept int
	_, tail, _ := strings.Cut(fmt.Sprint(err), "dropped=")
	if _, err := fmt.Sscan(tail, &dropped); err != nil {
		t.Fatalf("no number of lost points in %q", tail)
	}
	if _, err := fmt.Sscan(d.must(t, "refused", "SELECT count(bits_incoming) FROM hosts_traffic")["count"], &kept); err != nil {
		t.Fatal(err)
	}
	if dropped == 0 || dropped+kept != 600 {
		t.Errorf("%d hosts are stored and %d refused; want 600 in all", kept, dropped)
	}
}

func keptForAWhile(t *testing.T, d *influxd) {
	o := influxdb.Options{Address: d.address, Database: "kept", RetentionPolicy: "two days", Create: true, Keep: 48 * time.Hour}
	old := &traffic.Snapshot{Time: at()}
	isPermanent(t, open(t, o).Push(limited(t), old), true, "points beyond retention policy")
	if got := d.must(t, "kept", "SHOW RETENTION POLICIES"); got["name"] != "two days" || got["duration"] != "48h0m0s" {
		t.Errorf("retention policy %v", got)
	}
	o.RetentionPolicy = "none such"
	isPermanent(t, open(t, o).Push(limited(t), old), false, "retention policy not found")
	o.Database, o.Create, o.Keep = "never made", false, 0
	isPermanent(t, open(t, o).Push(limited(t), old), false, `database not found: "never made"`)
}

func TestInfluxdWithUsers(t *testing.T) {
	d := start(t, true)
	const password = "s3cret 'of' %admin"
	if _, err := d.query("", `CREATE USER "boss" WITH PASSWORD 's3cret \'of\' %admin' WITH ALL PRIVILEGES`); err != nil {
		t.Fatal(err)
	}
	d.user, d.password = "boss", password
	o := influxdb.Options{Address: d.address, Create: true, User: "boss", Password: password}
	if err := open(t, o).Push(limited(t), example()); err != nil {
		t.Fatal(err)
	}
	if got := d.must(t, "fastnetmon", "SELECT packets_incoming FROM hosts_traffic WHERE host='192.0.2.1'"); got["packets_incoming"] != "7000" {
		t.Errorf("stored %v", got)
	}
	o.Password = "wr0ng"
	isPermanent(t, open(t, o).Push(limited(t), example()), false, `user "boss" was refused (401): authorization failed`)
	o.User, o.Password = "", ""
	isPermanent(t, open(t, o).Push(limited(t), example()), false, "no credentials were given (401)")
	if _, err := d.query("", "CREATE USER reader WITH PASSWORD 'r'"); err != nil {
		t.Fatal(err)
	}
	o.User, o.Password = "reader", "r"
	isPermanent(t, open(t, o).Push(limited(t), example()), false, `user "reader" was refused (403)`)
	o.Database = "not yet"
	isPermanent(t, open(t, o).Push(limited(t), example()), false, "create", "CREATE DATABASE")
}
