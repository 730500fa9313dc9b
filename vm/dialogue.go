package vm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// dialogue is what is asked and answered on a screen.
type dialogue struct {
	*Screen
	ask func(question string) (string, error)
}

// hold sets the machine up where that has not been done, else shows the menu.
func (d dialogue) hold(ctx context.Context) error {
	if !d.dataThere() {
		return errors.New("there is no data disk to keep settings on; see TROUBLE above")
	}
	s, told, err := loadSettings(d.Settings)
	if err != nil {
		d.say("\n%v\nIt is set up anew.\n", err)
	}
	if !told || s.Login == "" {
		return d.change(ctx, s, d.address, d.clockAnd, d.login)
	}
	return d.menu(ctx, s)
}

const choices = `
  1  address, name, DNS
  2  password of the console
  3  time zone, time servers
  4  a shell, as root
  5  restart
  6  power off
  Enter: nothing

`

func (d dialogue) menu(ctx context.Context, s Settings) error {
	d.say("%s", choices)
	choice, err := d.ask("> ")
	if err != nil {
		return err
	}
	switch choice {
	case "1":
		return d.change(ctx, s, d.address)
	case "2":
		return d.change(ctx, s, d.login)
	case "3":
		return d.change(ctx, s, d.clockAnd)
	case "4":
		d.say("exit leads back.\n")
		return d.Shell(ctx)
	case "5":
		_, err = d.Command(ctx, nil, "systemctl", "reboot")
	case "6":
		_, err = d.Command(ctx, nil, "systemctl", "poweroff")
	}
	return err
}

// change asks, keeps the answers, and puts them in force.
func (d dialogue) change(ctx context.Context, s Settings, questions ...func(*Settings) error) error {
	for _, q := range questions {
		if err := q(&s); err != nil {
			return err
		}
	}
	if err := s.save(d.Settings); err != nil {
		return err
	}
	d.say("\nIt is kept, and put in force now.\n")
	// What depends on this unit, the network and the gate, starts anew with it.
	_, err := d.Command(ctx, nil, "systemctl", "restart", "gatehouse-vm.service", "systemd-timesyncd.service")
	return err
}

// until asks until take accepts the answer; Enter is the answer in brackets.
func (d dialogue) until(question, standing string, take func(string) error) error {
	for {
		answer, err := d.ask(fmt.Sprintf("%s [%s]: ", question, standing))
		if err != nil {
			return err
		}
		if answer == "" {
			answer = standing
		}
		if err = take(answer); err == nil {
			return nil
		}
		d.say("  %v\n", err)
	}
}

// address asks for the first adapter; further ones stay as a seed has set them.
func (d dialogue) address(s *Settings) error {
	name := s.names()[0]
	a := s.Adapters[name]
	standing := "dhcp"
	if len(a.Addresses) > 0 {
		standing = a.Addresses[0].String()
	}
	next := Adapter{MAC: a.MAC, Search: a.Search}
	if err := d.until("\nAddress with its network, like 10.20.0.1/24, or dhcp", standing, next.takeAddress); err != nil {
		return err
	}
	if !next.DHCP {
		if err := d.until("Router", word(a.Routers, "none"), func(answer string) (err error) {
			if next.Routers, err = list(answer); err != nil {
				return err
			}
			return next.check(name)
		}); err != nil {
			return err
		}
		if err := d.until("DNS servers that the gate asks, with spaces between", word(a.DNS, "none"), func(answer string) (err error) {
			next.DNS, err = list(answer)
			return err
		}); err != nil {
			return err
		}
	}
	s.Adapters[name] = next
	return d.until("Name of this machine", s.Hostname, func(answer string) error {
		if !isHostName(answer) {
			return errors.New("letters, digits, hyphens and dots")
		}
		s.Hostname = answer
		return nil
	})
}

func (a *Adapter) takeAddress(answer string) error {
	a.DHCP, a.Addresses = answer == "dhcp", nil
	if a.DHCP {
		return nil
	}
	p, err := netip.ParsePrefix(answer)
	if err != nil {
		return errors.New("write it with its network, like 10.20.0.1/24, or dhcp")
	}
	a.Addresses = []netip.Prefix{p}
	return a.check("eth0")
}

// clockAnd asks for the time zone and the time servers.
func (d dialogue) clockAnd(s *Settings) error {
	zone := s.TimeZone
	if zone == "" {
		zone = "Europe/London"
	}
	if err := d.until("\nTime zone", zone, func(answer string) error {
		s.TimeZone = answer
		return checkZone(answer)
	}); err != nil {
		return err
	}
	servers := strings.Join(s.NTP, " ")
	if servers == "" {
		servers = "default"
	}
	return d.until("Time servers, with spaces between", servers, func(answer string) error {
		s.NTP = nil
		if answer != "default" {
			s.NTP = strings.Fields(answer)
		}
		return s.Check()
	})
}

// login asks twice for the console's password, unseen.
func (d dialogue) login(s *Settings) error {
	defer d.Hush()()
	for {
		first, err := d.ask("\nPassword of the console's user admin, at least 10 characters: ")
		if err != nil {
			return err
		}
		hash, err := hashPassword(first)
		if err != nil {
			d.say("\n  %v\n", err)
			continue
		}
		again, err := d.ask("\nOnce more: ")
		if err != nil {
			return err
		}
		if again == first {
			s.Login = hash
			return nil
		}
		d.say("\n  These were two different ones.\n")
	}
}

func list(answer string) ([]netip.Addr, error) {
	if answer == "none" {
		return nil, nil
	}
	found, err := addresses(strings.Fields(strings.ReplaceAll(answer, ",", " ")))
	if err != nil {
		return nil, errors.New("addresses like 10.20.0.10, or none")
	}
	return found, nil
}

// word is a list as it is typed; none, where it is empty.
func word(list []netip.Addr, none string) string {
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, " ")
}
