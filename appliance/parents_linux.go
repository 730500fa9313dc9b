package appliance

import "gatehouse/proxy"

// parents are the parent proxies as the gate asks them.
func (c *Config) parents() (list []proxy.Parent) {
	for _, u := range c.Upstreams {
		list = append(list, proxy.Parent{
			Name: u.Name, Host: u.URL.Host, Port: u.URL.Port, User: u.URL.user, Password: u.URL.password, ByName: u.Connect == "name",
		})
	}
	return list
}
