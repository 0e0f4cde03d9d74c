// Package layering holds only a test: that the packages of this module import
// one another as the table in DESIGN.md says.
package layering
