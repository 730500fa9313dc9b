// Package rules is the porter's list: it reads rules.toml and makes a
// policy.Policy of it, or tells the admin everything that is wrong with the
// file, each thing at its own line and column, with a fix that can be pasted.
//
// BurntSushi/toml judges what is TOML and reads the values. Package scan adds
// where everything stands. The same two read gatehouse.toml for the appliance
// (Decode).
//
// What the package is not: it reads no files, knows no clock (Env carries the
// time), resolves no names and decides nothing; what a rule means is package
// policy's.
package rules
