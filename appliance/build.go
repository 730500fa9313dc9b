package appliance

// Build says what is running.
type Build struct{ Version, Revision, Go string }
