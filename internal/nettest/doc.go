// Package nettest holds the far ends that tests speak with over loopback sockets:
// origins, name servers, clients, a private PKI and a Service Bus relay. It is for
// tests alone, and no package that ships imports it.
package nettest
