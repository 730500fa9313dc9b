package appliance

// The files that are read whole are bounded, in octets.
const (
	mostText = 8 << 20  // TOML: room for some hundred thousand hosts
	mostTags = 64 << 20 // Azure's service tags, some 5 MiB by now
)
