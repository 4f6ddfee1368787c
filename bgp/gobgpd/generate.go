package gobgpd

//go:generate ./generate.sh
