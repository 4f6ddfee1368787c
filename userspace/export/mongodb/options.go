package mongodb

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// What an Options' zero fields stand for.
const (
	DefaultAddress    = "127.0.0.1:27017"
	DefaultDatabase   = "weir"
	DefaultCollection = "attacks" // as FastNetMon
	DefaultChanges    = 100
	DefaultAuthSource = "admin"
)

// How a user proves who they are. Empty: by SCRAM, as the server would have it.
const (
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA1   = "SCRAM-SHA-1"
	Plain       = "PLAIN"        // LDAP; the server learns the password
	X509        = "MONGODB-X509" // by the client certificate of TLS
)

// Options says which server, and what is written. Zero fields stand for what is said of them.
type Options struct {
	Addresses  []string // host:port of the server, or of several of a replica set or of several routers; none: DefaultAddress
	ReplicaSet string   // its name: the primary is looked for. Empty: the one address is spoken to as it is, several are routers
	Database   string   // DefaultDatabase
	Collection string   // DefaultCollection

	Username   string
	Password   string
	AuthSource string      // the database that knows the user; DefaultAuthSource, or $external for Plain
	Mechanism  string      // ScramSHA256, ScramSHA1, Plain or X509
	TLS        *tls.Config // nil: in the clear

	FastNetMon bool   // FastNetMon's documents instead of ours
	Instance   string // which Weir this is, where several write to one collection: stands before attacks' ids
	Changes    int    // how many changes of an attack its document keeps: the last; DefaultChanges
	NoIndexes  bool   // indexes are not created
}

// check completes the options and says everything that is wrong with them.
func (o *Options) check() error {
	if len(o.Addresses) == 0 {
		o.Addresses = []string{DefaultAddress}
	}
	for _, s := range []struct {
		value    *string
		standard string
	}{{&o.Database, DefaultDatabase}, {&o.Collection, DefaultCollection}} {
		if *s.value == "" {
			*s.value = s.standard
		}
	}
	if o.Changes == 0 {
		o.Changes = DefaultChanges
	}
	var errs []error
	for _, a := range o.Addresses {
		if strings.Contains(a, "@") { // a URI with a password in it, which is for nobody's log
			errs = append(errs, fmt.Errorf("use MongoDB address: it has an @; write it as host:port, such as %s, and set username and password apart", DefaultAddress))
			continue
		}
		host, port, err := net.SplitHostPort(a)
		if err == nil && (host == "" || port == "") {
			err = errors.New("host or port is empty")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("use MongoDB address %q: %w; write it as host:port, such as %s", a, err, DefaultAddress))
		}
	}
	if strings.ContainsAny(o.Database, "/\\. \"$*<>:|?\x00") {
		errs = append(errs, fmt.Errorf("use MongoDB database %q: its name may have no space and none of /\\.\"$*<>:|?", o.Database))
	}
	if strings.HasPrefix(o.Collection, "system.") || strings.ContainsAny(o.Collection, "$\x00") {
		errs = append(errs, fmt.Errorf("use MongoDB collection %q: its name may not begin with \"system.\" nor have a $", o.Collection))
	}
	if o.Changes < 1 || o.Changes > 1000 {
		errs = append(errs, fmt.Errorf("keep %d changes of an attack in MongoDB: expected 1 to 1000", o.Changes))
	}
	if !slices.Contains([]string{"", ScramSHA256, ScramSHA1, Plain, X509}, o.Mechanism) {
		errs = append(errs, fmt.Errorf("log in to MongoDB by %q: unknown; expected one of %s, %s, %s, %s", o.Mechanism, ScramSHA256, ScramSHA1, Plain, X509))
	}
	switch {
	case o.Mechanism == X509 && (o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetClientCertificate == nil):
		errs = append(errs, errors.New("log in to MongoDB by certificate: there is none; set TLS with a certificate and its key"))
	case o.Mechanism != X509 && (o.Username == "") != (o.Password == ""):
		errs = append(errs, errors.New("log in to MongoDB: username and password belong together"))
	case o.Mechanism != "" && o.Mechanism != X509 && o.Username == "":
		errs = append(errs, fmt.Errorf("log in to MongoDB by %s: there is no username", o.Mechanism))
	}
	return errors.Join(errs...)
}

// client is what the client library is told. The options have been checked.
func (o *Options) client() *options.ClientOptions {
	c := options.Client().
		SetHosts(o.Addresses).
		SetAppName("weir").
		SetMaxPoolSize(1).
		SetRetryWrites(false) // whoever calls tries again, and then no write is known to be half done
	if o.ReplicaSet != "" {
		c.SetReplicaSet(o.ReplicaSet)
	} else if len(o.Addresses) == 1 {
		// Otherwise the names by which a replica set's members know each other would have to lead somewhere from here, too.
		c.SetDirect(true)
	}
	if o.TLS != nil {
		c.SetTLSConfig(o.TLS.Clone())
	}
	if o.Username != "" || o.Mechanism == X509 {
		source := o.AuthSource
		switch {
		case o.Mechanism == X509: // no database knows of these
			source = "$external"
		case source != "":
		case o.Mechanism == Plain:
			source = "$external"
		default:
			source = DefaultAuthSource
		}
		c.SetAuth(options.Credential{
			AuthMechanism: o.Mechanism, AuthSource: source, Username: o.Username, Password: o.Password, PasswordSet: o.Password != "" && o.Mechanism != X509,
		})
	}
	return c
}
