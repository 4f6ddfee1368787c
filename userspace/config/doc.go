// Package config turns one YAML file into a validated Config, or into every error in it by file, line and column.
package config
