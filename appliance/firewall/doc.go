// Package firewall writes the rules of the machine's own firewall (nftables) and
// keeps the pins in it: which address, on which ports, the clients of a rule with
// via = "forward" may reach past the gate.
//
// Ruleset is a pure function of a Plan. Everything stands in one table, "inet
// gatehouse", which is replaced as a whole in one transaction; no other table is
// read or touched. The table stays when the process ends, however it ends:
// connections of clients then meet a closed door and not an open one.
//
// What the package is not: it decides nothing (package policy says what is let
// through) and resolves nothing. It talks to the kernel by the nft command, whose
// text anybody can read, and deletes flows by netlink.
package firewall
