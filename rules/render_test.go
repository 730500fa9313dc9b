package rules

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestControlCharactersOfAFileDoNotReachTheTerminal(t *testing.T) {
	_, problems := Load("rules.toml", []byte("version = 1\n[[pack]]\nname = \"\\u001b[2J\" # \x1b[2J\n"), testEnv(t))
	require.NotEmpty(t, problems)
	for _, p := range problems {
		require.NotContains(t, p.String(), "\x1b")
	}
}

func TestProblemsAsJSONHaveTheirFixedKeys(t *testing.T) {
	p := Problem{File: "rules.toml", Line: 1, Column: 2, Level: Warning, Code: "GH101", Message: "m", Source: "not told"}
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.JSONEq(t, `{"file":"rules.toml","line":1,"column":2,"level":"warning","code":"GH101","message":"m","fix":"","why":""}`, string(text))
}
