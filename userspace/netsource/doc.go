// Package netsource finds out, and goes on watching, which addresses are ours without being told: this machine's own and those of OpenVZ containers.
package netsource
