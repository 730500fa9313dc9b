package servicetags

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// legacyRegions are the regions whose names the XML file writes the other way
// round or shortens. The names that are not here are the same in both.
var legacyRegions = map[string]string{
	"asiaeast": "eastasia", "asiasoutheast": "southeastasia",
	"australiac": "australiacentral", "australiac2": "australiacentral2",
	"europenorth": "northeurope", "europewest": "westeurope",
	"francec": "centralfrance", "frances": "southfrance",
	"indiacentral": "centralindia", "indiasouth": "southindia", "indiawest": "westindia",
	"uscentral": "centralus", "uscentraleuap": "centraluseuap",
	"useast": "eastus", "useast2": "eastus2", "useast2euap": "eastus2euap",
	"usnorth": "northcentralus", "ussouth": "southcentralus",
	"uswest": "westus", "uswest2": "westus2", "uswestcentral": "westcentralus",
}

type xmlRegion struct {
	Name   string `xml:"Name,attr"`
	Ranges []struct {
		Subnet string `xml:"Subnet,attr"`
	} `xml:"IpRange"`
}

// readXML reads the retired list of regions. Each becomes the AzureCloud tag of
// the region's present name.
func (p *parser) readXML(in io.Reader) (int64, error) {
	dec := xml.NewDecoder(in)
	root := false
	for {
		token, err := dec.Token()
		if err == io.EOF && root {
			return dec.InputOffset(), nil
		}
		if err != nil {
			return dec.InputOffset(), err
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case !root && start.Name.Local != "AzurePublicIpAddresses":
			return dec.InputOffset(), fmt.Errorf("the file begins with <%.60s>, not with <AzurePublicIpAddresses>", start.Name.Local)
		case !root:
			root = true
		default:
			if err := p.readRegion(dec, start); err != nil {
				return dec.InputOffset(), err
			}
		}
	}
}

func (p *parser) readRegion(dec *xml.Decoder, start xml.StartElement) error {
	if start.Name.Local != "Region" {
		return dec.Skip()
	}
	var r xmlRegion
	if err := dec.DecodeElement(&r, &start); err != nil {
		return err
	}
	if r.Name == "" {
		return errors.New("a region without a name")
	}
	list := make([]netip.Prefix, 0, len(r.Ranges))
	for _, s := range r.Ranges {
		x, err := parsePrefix(s.Subnet)
		if err != nil {
			return fmt.Errorf("region %.80q: %w", r.Name, err)
		}
		list = append(list, x)
	}
	name := r.Name
	if present, ok := legacyRegions[name]; ok {
		name = present
	}
	return p.add("AzureCloud."+name, list)
}
