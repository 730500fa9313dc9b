package rules

func (c *compiler) warn(l *Loaded) {}
