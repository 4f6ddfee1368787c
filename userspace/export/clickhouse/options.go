package clickhouse

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

// What an Options' zero fields stand for.
const (
	DefaultAddress            = "127.0.0.1:8123"
	DefaultSecureAddress      = "127.0.0.1:8443" // with TLS
	DefaultDatabase           = "weir"
	DefaultFastNetMonDatabase = "fastnetmon" // with FastNetMon
	DefaultTrafficDays        = 30
	DefaultFastNetMonDays     = 7 // of traffic, with FastNetMon
	DefaultAttackDays         = 365
	DefaultFlowDays           = 7
)

// Options says which server, and what is written. Zero fields stand for what is said of them.
type Options struct {
	Address  string // host:port of the server's HTTP interface; DefaultAddress or DefaultSecureAddress
	Database string // DefaultDatabase or DefaultFastNetMonDatabase
	Username string // empty: the server's default user
	Password string
	TLS      *tls.Config // nil: in the clear
	Gzip     bool        // rows are compressed on their way

	Instance   string // which Weir this is, where several write to one database: the column "instance" of Weir's tables
	FastNetMon bool   // traffic goes to FastNetMon's tables instead of ours
	NoHosts    bool   // no rows for single hosts
	NoCreate   bool   // database and tables are there, and how long rows are kept is not Weir's business

	// How many days rows are kept. Below zero: Weir does nothing about it.
	TrafficDays int // DefaultTrafficDays or DefaultFastNetMonDays
	AttackDays  int // DefaultAttackDays
	FlowDays    int // DefaultFlowDays
}

// check completes the options and says everything that is wrong with them.
func (o *Options) check() error {
	if o.Address == "" {
		o.Address = DefaultAddress
		if o.TLS != nil {
			o.Address = DefaultSecureAddress
		}
	}
	if o.Database == "" {
		o.Database = DefaultDatabase
		if o.FastNetMon {
			o.Database = DefaultFastNetMonDatabase
		}
	}
	if o.FastNetMon && o.TrafficDays == 0 {
		o.TrafficDays = DefaultFastNetMonDays
	}
	var errs []error
	for _, d := range []struct {
		value    *int
		standard int
		what     string
	}{
		{&o.TrafficDays, DefaultTrafficDays, "traffic"},
		{&o.AttackDays, DefaultAttackDays, "attacks"},
		{&o.FlowDays, DefaultFlowDays, "flow records"},
	} {
		if *d.value == 0 {
			*d.value = d.standard
		}
		if *d.value > mostDays {
			errs = append(errs, fmt.Errorf("keep %s in ClickHouse for %d days: expected %d at most; -1 keeps them for good", d.what, *d.value, mostDays))
		}
	}
	errs = append(errs, o.checkAddress(), checkName(o.Database))
	if o.Password != "" && o.Username == "" {
		errs = append(errs, errors.New("log in to ClickHouse: there is a password and no username"))
	}
	if strings.ContainsAny(o.Username+o.Password, "\r\n\x00") {
		errs = append(errs, errors.New("log in to ClickHouse: username or password has a line break or a zero byte, which cannot be sent"))
	}
	return errors.Join(errs...)
}

// mostDays is 27 years: with a few times as many, the end would lie beyond what 32 bits of seconds can say.
const mostDays = 10_000

func (o *Options) checkAddress() error {
	if strings.Contains(o.Address, "@") { // a URL with a password in it, which is for nobody's log
		return fmt.Errorf("use ClickHouse address: it has an @; write it as host:port, such as %s, and set username and password apart", DefaultAddress)
	}
	host, port, err := net.SplitHostPort(o.Address)
	switch {
	case err != nil:
	case host == "" || port == "":
		err = errors.New("host or port is empty")
	case strings.ContainsAny(o.Address, "/?# "):
		err = errors.New("it is more than host and port")
	default:
		return nil
	}
	return fmt.Errorf("use ClickHouse address %q: %w; write it as host:port, such as %s", o.Address, err, DefaultAddress)
}

// checkName allows what needs no escaping anywhere.
func checkName(database string) error {
	for _, c := range []byte(database) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return fmt.Errorf("use ClickHouse database %q: expected letters, digits, _ and -", database)
		}
	}
	return nil
}
