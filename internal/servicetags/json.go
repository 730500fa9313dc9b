package servicetags

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// jsonTag is what is needed of one element of "values".
type jsonTag struct {
	Name       string `json:"name"`
	Properties struct {
		AddressPrefixes []string `json:"addressPrefixes"`
	} `json:"properties"`
}

// readJSON reads the weekly file tag by tag, so that never more than one tag is
// held twice. It returns the offset it came to, for the error.
func (p *parser) readJSON(in io.Reader) (int64, error) {
	dec := json.NewDecoder(in)
	if _, err := dec.Token(); err != nil { // the "{" that Parse has seen
		return dec.InputOffset(), err
	}
	for dec.More() {
		if err := p.readMember(dec); err != nil {
			return dec.InputOffset(), err
		}
	}
	if _, err := dec.Token(); err != nil {
		return dec.InputOffset(), err
	}
	_, err := dec.Token()
	switch err {
	case io.EOF:
		return dec.InputOffset(), nil
	case nil:
		err = errors.New("something follows the end of the list")
	}
	return dec.InputOffset(), err
}

func (p *parser) readMember(dec *json.Decoder) error {
	key, err := dec.Token()
	if err != nil {
		return err
	}
	switch key {
	case "changeNumber":
		return dec.Decode(&p.file.ChangeNumber)
	case "values":
		return p.readValues(dec)
	default: // "cloud", and whatever Microsoft may add
		var ignored json.RawMessage
		return dec.Decode(&ignored)
	}
}

func (p *parser) readValues(dec *json.Decoder) error {
	open, err := dec.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('[') {
		return errors.New("\"values\" is not a list of tags")
	}
	for dec.More() {
		var t jsonTag
		if err := dec.Decode(&t); err != nil {
			return err
		}
		ranges, err := t.ranges()
		if err == nil {
			err = p.add(t.Name, ranges)
		}
		if err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

func (t *jsonTag) ranges() ([]netip.Prefix, error) {
	list := make([]netip.Prefix, 0, len(t.Properties.AddressPrefixes))
	for _, s := range t.Properties.AddressPrefixes {
		x, err := parsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("tag %.80q: %w", t.Name, err)
		}
		list = append(list, x)
	}
	return list, nil
}
