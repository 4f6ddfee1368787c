package influxdb

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The versions of InfluxDB, by how they are written to.
const (
	V1  = "1"   // POST /write
	V2  = "2"   // POST /api/v2/write
	V3  = "3"   // POST /api/v3/write_lp
	UDP = "udp" // datagrams to InfluxDB 1, which knows the database by its port; what is lost is lost, and a burst of many hosts will be
)

// Which hosts are written.
const (
	AllHosts  = "all"
	IPv4Hosts = "ipv4"
	NoHosts   = "none"
)

// What zero fields of Options stand for.
const (
	DefaultDatabase  = "fastnetmon" // FastNetMon's, so that its dashboards show Weir's traffic
	DefaultMostLines = 5000
	DefaultMostBytes = 4 << 20
	DefaultDatagram  = 1400 // fits into one Ethernet frame behind most tunnels

	mostDatagram = 65507 // RFC 768 and RFC 791: 65535 less the headers
)

// Options says where to write to, and how much. Zero fields stand for the first named.
type Options struct {
	Version  string // V1, V2, V3 or UDP
	Address  string // http://127.0.0.1:8086, :8181 for V3; https and a path below which InfluxDB is are fine. For UDP host:port, 127.0.0.1:8089
	Database string // V1, V3: DefaultDatabase
	Org      string // V2: the organisation's name
	Bucket   string // V2
	Token    string // V2, V3: the API token
	User     string // V1
	Password string // V1

	RetentionPolicy string        // V1: the database's default one
	Create          bool          // V1: create the database when the server says that there is none; that takes an administrator's rights
	Keep            time.Duration // V1 with Create: how long points are kept in whole seconds, at least an hour; 0: for ever

	Hosts       string            // AllHosts, IPv4Hosts or NoHosts
	Brief       bool              // hosts, networks and hostgroups without what is per protocol: packets, bits and flows alone
	NoFinalZero bool              // hosts whose traffic has ended get no zero, as with FastNetMon
	Tags        map[string]string // of every point, such as which Weir it is from: without, two of them overwrite each other's totals

	Gzip      bool // requests are compressed
	MostLines int  // of a request: DefaultMostLines
	MostBytes int  // of a request before it is compressed: DefaultMostBytes. For UDP of a datagram: DefaultDatagram

	CAFile   string // PEM: who signs the server's certificate, in place of those that the system trusts
	CertFile string // PEM: our certificate, for servers that ask for one
	KeyFile  string // PEM: its key
	Insecure bool   // the server's certificate is not checked
	Proxy    bool   // through the proxy that the environment (HTTPS_PROXY and others) names
}

func (o Options) withDefaults() Options {
	standard := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	standard(&o.Version, V1)
	standard(&o.Database, DefaultDatabase)
	standard(&o.Hosts, AllHosts)
	bytes := DefaultMostBytes
	switch o.Version {
	case V3:
		standard(&o.Address, "http://127.0.0.1:8181")
	case UDP:
		standard(&o.Address, "127.0.0.1:8089")
		bytes = DefaultDatagram
	default:
		standard(&o.Address, "http://127.0.0.1:8086")
	}
	if o.MostLines == 0 {
		o.MostLines = DefaultMostLines
	}
	if o.MostBytes == 0 {
		o.MostBytes = bytes
	}
	return o
}

// check never writes a secret into its error.
func (o *Options) check() error {
	switch o.Version {
	case V1, V2, V3, UDP:
	default:
		return fmt.Errorf("use influxdb version %q: unknown; expected one of %s, %s, %s, %s", o.Version, V1, V2, V3, UDP)
	}
	switch o.Hosts {
	case AllHosts, IPv4Hosts, NoHosts:
	default:
		return fmt.Errorf("write hosts %q to influxdb: unknown; expected one of %s, %s, %s", o.Hosts, AllHosts, IPv4Hosts, NoHosts)
	}
	if o.MostLines < 1 || o.MostBytes < 64 || o.Version == UDP && o.MostBytes > mostDatagram {
		return fmt.Errorf("write %d lines or %d bytes to influxdb at once: out of range; use 1 line or more, and 64 bytes or more (%d at most by udp)",
			o.MostLines, o.MostBytes, mostDatagram)
	}
	for key := range o.Tags {
		if ours(key) || !printable(key) || key == "" || strings.HasSuffix(key, `\`) {
			return fmt.Errorf("add tag %q to points for influxdb: taken by Weir's own, or not a name; choose another name", key)
		}
	}
	if err := o.checkAddress(); err != nil {
		return err
	}
	if o.Version == UDP {
		return o.checkUnused("udp", o.User, o.Password, o.Token, o.RetentionPolicy, o.CAFile, o.CertFile, o.KeyFile)
	}
	return o.checkAccess()
}

func (o *Options) checkAddress() error {
	if o.Version == UDP {
		host, port, err := net.SplitHostPort(o.Address)
		if err != nil || host == "" || !isPort(port) {
			return fmt.Errorf("use influxdb address %q by udp: not an address; write it as host:port, such as 127.0.0.1:8089", o.Address)
		}
		return nil
	}
	u, err := url.Parse(o.Address)
	if err != nil {
		// The cause would show all of it, a password too.
		return fmt.Errorf("use influxdb address: not a URL; write it as http://host:8086")
	}
	switch {
	case u.User != nil:
		return fmt.Errorf("use influxdb address on %s: it holds a user or a password; give them as options of their own", u.Host)
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("use influxdb address on %s: it holds more than a path; give database, organisation and credentials as options of their own", u.Host)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Port() != "" && !isPort(u.Port()):
		return fmt.Errorf("use influxdb address %q: not http or https with a host; write it as http://host:8086", o.Address)
	}
	return nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// checkAccess checks what says who we are and where the points go.
func (o *Options) checkAccess() error {
	for _, name := range []string{o.Database, o.RetentionPolicy, o.Org, o.Bucket, o.User, o.Token} {
		if !printable(name) {
			return fmt.Errorf("use influxdb at %s: a name or the token has control characters; is there a newline at its end?", o.Address)
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return fmt.Errorf("use influxdb at %s: a certificate needs its key and a key its certificate; give both files or none", o.Address)
	}
	if o.Keep != 0 && (!o.Create || o.Keep < time.Hour || o.Keep%time.Second != 0) {
		return fmt.Errorf("create database %q in influxdb: points cannot be kept for %s; create it with an hour or more, in whole seconds", o.Database, o.Keep)
	}
	switch {
	case strings.Contains(o.User, ":"):
		return fmt.Errorf("use influxdb at %s: a user's name has no colon", o.Address)
	case o.Version == V1:
		return o.checkUnused("version 1", o.Org, o.Bucket, o.Token)
	case o.Create:
		return fmt.Errorf("create database in influxdb version %s: only version 1 is asked for that; create it there", o.Version)
	case o.Version == V2 && (o.Org == "" || o.Bucket == ""):
		return fmt.Errorf("use influxdb version 2: no organisation or no bucket; name both")
	case o.Version == V3:
		return o.checkUnused("version 3", o.User, o.Password, o.RetentionPolicy, o.Org, o.Bucket)
	}
	return o.checkUnused("version 2", o.User, o.Password, o.RetentionPolicy)
}

// checkUnused refuses what would silently have no effect.
func (o *Options) checkUnused(how string, values ...string) error {
	if slices.ContainsFunc(values, func(s string) bool { return s != "" }) {
		return fmt.Errorf("use influxdb %s: an option is set that belongs to another version; "+
			"user, password and retention policy are of version 1, organisation and bucket of 2, a token of 2 and 3, certificates of HTTP", how)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
