package rules

import "gatehouse/policy"

func (c *compiler) readTests() {}

func (c *compiler) runTests(p *policy.Policy) {}
