package rules

func (c *compiler) compare() {}
