// Package e2e holds the tests of the whole: the program as it is shipped, in network namespaces, under real floods, judged by what is seen outside of it.
package e2e
