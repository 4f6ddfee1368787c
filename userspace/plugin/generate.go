package plugin

//go:generate ./generate.sh
