package appliance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/servicetags"
	"gatehouse/internal/wholefile"
	"gatehouse/rules"
)

// TagsInForce is the file of service tags that the configuration leads to.
func (c *Config) TagsInForce() (*servicetags.File, error) {
	return c.newTags().read()
}

// TagImport is what would change if a file of service tags took the place of the
// one in force.
type TagImport struct {
	Before, After *servicetags.File
	// InUse are the tags that the rules name; Changes are all that change.
	InUse   []string
	Changes []servicetags.Change
	// Objections are why it should not be: the file is older, lacks a tag in use
	// or most of one, or the rules do not pass their tests with it.
	Objections []string

	text []byte
	to   string // azure.tags
}

// WeighTags compares a file of service tags with the one in force, and asks the
// rules what they say to it. Nothing is changed.
func (c *Config) WeighTags(files Files, path string) (*TagImport, error) {
	before, err := c.TagsInForce()
	if noTags(err) {
		before, err = servicetags.Builtin(), nil // the first import fills the place; until then a gate holds the copy built in
	}
	if err != nil {
		return nil, err
	}
	text, err := wholefile.Read(path, servicetags.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("azure service tags: %w; name a list as Microsoft publishes it, ServiceTags_Public_*.json", err)
	}
	after, err := servicetags.Parse(bytes.NewReader(text), path)
	if err != nil {
		return nil, err
	}
	return c.weigh(files, before, after, text)
}

func (c *Config) weigh(files Files, before, after *servicetags.File, text []byte) (*TagImport, error) {
	i := &TagImport{Before: before, After: after, Changes: servicetags.Compare(before, after), text: text, to: c.Azure.Tags}
	if err := i.askRules(c, files); err != nil {
		return nil, err
	}
	return i, nil
}

// Uses reports whether the rules use a tag.
func (i *TagImport) Uses(tag string) bool {
	return slices.ContainsFunc(i.InUse, func(s string) bool { return strings.EqualFold(s, tag) })
}

// TagsInUse are the tags that the rules name, in alphabetical order.
func (c *Config) TagsInUse(files Files) ([]string, error) {
	tags, err := c.TagsInForce()
	if err != nil {
		return nil, err
	}
	loaded, _, err := c.loadWith(files, tags)
	if err != nil {
		return nil, err
	}
	return tagsOf(loaded), nil
}

// loadWith loads the rules as they would be with the given tags in force.
func (c *Config) loadWith(files Files, tags *servicetags.File) (*rules.Loaded, []rules.Problem, error) {
	text, err := files.ReadRules()
	if err != nil {
		return nil, nil, fmt.Errorf("the rules must be asked which tags they use: %w; name the file by --rules", err)
	}
	env := c.Env()
	env.Now, env.Tags = time.Now(), tags
	loaded, problems := rules.Load(files.RulesName(), text, env)
	if loaded == nil {
		return nil, problems, fmt.Errorf("%s cannot be loaded: %s; repair it first", files.RulesName(), strings.Join(brief(problems), "; "))
	}
	return loaded, problems, nil
}

// askRules finds the tags in use and has the rules judged with the new file, as
// if it were changed: then a test that fails is an error.
func (i *TagImport) askRules(c *Config, files Files) error {
	present, _, err := c.loadWith(files, i.Before)
	if err != nil {
		return err
	}
	i.InUse = tagsOf(present)
	i.Objections = objections(i.Before, i.After, i.InUse)
	_, problems, err := c.loadWith(files, i.After)
	if err != nil {
		for _, line := range brief(problems) {
			i.Objections = append(i.Objections, "with it the rules cannot be loaded: "+line)
		}
	}
	return nil
}

var errNoTagsPath = errors.New("azure.tags of gatehouse.toml names no place to import to; set it to a folder, like tags = \"azure\"")

// Apply puts the file where azure.tags leads. A running gate takes it as it
// takes every changed file there. The path is where it was put.
func (i *TagImport) Apply() (path string, err error) {
	if i.to == "" {
		return "", errNoTagsPath
	}
	path = i.to
	info, err := os.Stat(i.to)
	if errors.Is(err, fs.ErrNotExist) && filepath.Ext(i.to) == "" { // a folder is meant, for lists are .json or .xml
		if err = os.Mkdir(i.to, 0o755); err == nil {
			info, err = os.Stat(i.to)
		}
	}
	folder := err == nil && info.IsDir()
	if folder {
		path = filepath.Join(i.to, i.nameInFolder())
	}
	if err := wholefile.Replace(path, i.text, wholefile.Mode(0o644)); err != nil {
		return "", fmt.Errorf("import the service tags: %w", err)
	}
	if !folder {
		return path, nil
	}
	if newest, err := servicetags.LoadPath(i.to); err != nil || newest.Name != path {
		os.Remove(path)
		return "", fmt.Errorf("of a folder the newest file counts, and in %s that is another one: remove it first, or name the file itself in azure.tags", i.to)
	}
	return path, nil
}

// nameInFolder is the file's own name where a folder is searched for names like
// it, else one that tells the day of the import.
func (i *TagImport) nameInFolder() string {
	name := filepath.Base(i.After.Name)
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "servicetags_") && strings.HasSuffix(lower, ".json") ||
		strings.HasPrefix(lower, "publicips") && strings.HasSuffix(lower, ".xml") {
		return name
	}
	return "ServiceTags_imported_" + time.Now().UTC().Format("20060102") + ".json"
}

func day(t time.Time) string {
	if t.IsZero() {
		return "no date"
	}
	return t.Format(time.DateOnly)
}
