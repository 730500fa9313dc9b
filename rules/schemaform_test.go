package rules

import (
	"encoding/json"
	"reflect"
	"slices"
)

// schemaText is the language as a JSON schema (draft 2020-12), for editors that
// complete and check TOML while it is typed. It is made from the types that read
// the file, and knows the form only: what values mean, check says.
func schemaText() []byte {
	s := tableSchema(reflect.TypeFor[file](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "gatehouse rules.toml"
	s["description"] = "Who may go where. What is not on this list is refused."
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // it is made of maps, lists and texts
	}
	return append(text, '\n')
}

type schema = map[string]any

// tableSchema is a table: its keys, and no others.
func tableSchema(t reflect.Type, table string) schema {
	properties := schema{}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("toml")
		if key == "" || table == "deny" && slices.Contains(noDenyKeys, key) {
			continue
		}
		if t.Field(i).Type.Kind() == reflect.Slice {
			properties[key] = schema{"type": "array", "items": tableSchema(t.Field(i).Type.Elem(), key)}
			continue
		}
		properties[key] = valueSchema(t.Field(i).Type, key)
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if required := requiredKeys[table]; required != nil {
		s["required"] = required
	}
	return s
}

// requiredKeys are the keys without which a table says nothing.
var requiredKeys = map[string][]string{
	"": {"version"}, "client": {"name", "from"}, "pack": {"name"}, "allow": {"name", "hosts"}, "deny": {"name"},
	"publish": {"name", "listen", "to"},
}

// noDenyKeys are the keys of an allow that a deny does not have.
var noDenyKeys = []string{"aliases", "inspect", "via", "parent"}

// wordsOf are the only values of some keys.
var wordsOf = map[string][]string{
	"mode": {"enforce", "monitor"}, "protocol": {"http", "tls", "tcp", "udp"},
	"inspect": {"when-needed", "never", "always"}, "via": {"relay", "forward"},
}

// valueSchema is what a key takes. A bare value stands for a list of one. TOML's
// dates have no counterpart in JSON: editors hand them on as text.
func valueSchema(t reflect.Type, key string) schema {
	text := schema{"type": "string"}
	port := schema{"anyOf": []any{schema{"type": "integer", "minimum": 1, "maximum": 65535}, text}}
	switch {
	case key == "version":
		return schema{"const": 1}
	case wordsOf[key] != nil:
		return schema{"enum": wordsOf[key]}
	case key == "ports":
		return listSchema(port, 1)
	case key == "types":
		types := listSchema(text, 1)
		return schema{"anyOf": []any{types, schema{"type": "object", "minProperties": 1, "additionalProperties": types}}}
	case key == "tls":
		return schema{"anyOf": []any{text, schema{"const": false}, schema{"type": "array", "items": text, "minItems": 1, "maxItems": 2}}}
	case key == "max_body":
		return schema{"type": []string{"string", "integer"}}
	case t == reflect.TypeFor[list]():
		if slices.Contains([]string{"without", "aliases", "upgrades"}, key) { // there an empty list means none
			return listSchema(text, 0)
		}
		return listSchema(text, 1)
	}
	return text
}

func listSchema(item schema, least int) schema {
	return schema{"anyOf": []any{item, schema{"type": "array", "items": item, "minItems": least}}}
}
