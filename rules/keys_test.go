package rules

import "reflect"

// allKeys are the keys of the language, from the structs that read them.
func allKeys() []string {
	var keys []string
	for _, t := range []reflect.Type{
		reflect.TypeFor[packTable](), reflect.TypeFor[ruleTable](), reflect.TypeFor[publishTable](),
	} {
		keys = append(keys, keysOf(t)...)
	}
	return append(keys, "version", "mode", "monitor_until")
}
