// Command ferretdb serves MongoDB's protocol from files of SQLite in a folder, for tests: a module of its own, so that Weir does not depend on it.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if len(os.Args) != 3 && len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: ferretdb FOLDER ADDRESS:PORT [ADDRESS:PORT-OF-TLS CERTIFICATE KEY]")
		os.Exit(2)
	}
	listener := ferretdb.ListenerConfig{TCP: os.Args[2]}
	if len(os.Args) == 6 {
		listener.TLS, listener.TLSCertFile, listener.TLSKeyFile = os.Args[3], os.Args[4], os.Args[5]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	server, err := ferretdb.New(&ferretdb.Config{Listener: listener, Logger: log, Handler: "sqlite", SQLiteURL: "file:" + os.Args[1] + "/"})
	if err == nil {
		err = server.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve MongoDB's protocol:", err)
		os.Exit(1)
	}
}
