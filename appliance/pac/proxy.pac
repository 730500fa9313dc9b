// Written by gatehouse from the rules in force, for {{.Client}}.
// Rules file: sha256 {{.SHA256}}
// Change the rules, not this file: it is made anew whenever it is asked for.

var proxy = {{json .Proxy}};
var otherwise = {{if .Direct}}"DIRECT"{{else}}proxy{{end}};

// What rules name: a host, and first and last ports.
var denied = {{json .Denied}};
var forwarded = {{json .Forwarded}};
var relayed = {{json .Relayed}};
var zones = {{json .Zones}};

function FindProxyForURL(url, host) {
	host = host.toLowerCase().replace(/^\[|\]$/g, "").replace(/\.$/, "");
	var port = portOf(url);
	if (lists(denied, host, port)) return proxy; // it says no, and why
	if (lists(forwarded, host, port)) return "DIRECT"; // the firewall lets it through
	if (lists(relayed, host, port)) return proxy;
	if (isLocal(host)) return "DIRECT";
	return otherwise;
}

// portOf is the port a URL names, or that of its scheme.
function portOf(url) {
	var parts = /^([a-z][a-z0-9+.\-]*):\/\/(?:[^\/?#@]*@)?(?:\[[^\]]*\]|[^:\/?#]*)(?::([0-9]+))?/i.exec(url);
	if (!parts) return 0;
	if (parts[2]) return Number(parts[2]);
	return { http: 80, ws: 80, https: 443, wss: 443, ftp: 21 }[parts[1].toLowerCase()] || 0;
}

function lists(table, host, port) {
	if (within(table.all, port) || within(own(table.names, host), port)) return true;
	for (var dot = host.indexOf("."); dot >= 0; dot = host.indexOf(".", dot + 1)) {
		if (dot > 0 && within(own(table.below, host.substring(dot + 1)), port)) return true;
	}
	for (var glob in table.globs) {
		if (new RegExp(glob).test(host) && within(own(table.globs, glob), port)) return true;
	}
	return false;
}

// own is a table's entry, and nothing that every object has.
function own(entries, key) {
	return Object.prototype.hasOwnProperty.call(entries, key) ? entries[key] : [];
}

function within(ports, port) {
	for (var i = 0; i < ports.length; i += 2) {
		if (ports[i] <= port && port <= ports[i + 1]) return true;
	}
	return false;
}

// isLocal: a name without a dot, an address of the LAN or of this machine, or a
// name that the school's own DNS servers know.
function isLocal(host) {
	if (host.indexOf(":") >= 0) return /^(::1$|f[cd]|fe[89ab])/.test(host);
	if (host.indexOf(".") < 0) return true;
	if (/^[0-9.]+$/.test(host)) return /^(10|127|169\.254|192\.168|172\.(1[6-9]|2[0-9]|3[01]))\./.test(host);
	for (var i = 0; i < zones.length; i++) {
		if (("." + host).slice(-zones[i].length - 1) === "." + zones[i]) return true;
	}
	return false;
}
