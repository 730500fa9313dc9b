package console

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// Restored is what putting a backup back changes, or has changed.
type Restored struct {
	Words    []string `json:"words"`
	Notes    []string `json:"notes"`    // what is not put back, and why
	Problems []string `json:"problems"` // of the configuration and the rules in it
	Allowed  bool     `json:"allowed"`
	Done     bool     `json:"done"`
	Trial    *Trial   `json:"trial"` // of its rules; nil: none are on trial
}

// Keeper makes backups of everything, and puts them back.
type Keeper interface {
	// Backup is everything as one file, and what is not in it. With secrets the
	// keys and passwords are in it, or it is ErrNoLogin.
	Backup(by string, secrets bool) (file []byte, notes []string, err error)
	// Restore says what a backup would change and, where change is true, puts it
	// back, its rules on trial. The error says why it is none, or why that failed.
	Restore(by string, file []byte, change bool) (Restored, error)
}

// ErrNoLogin is why a Keeper gives no secrets away.
var ErrNoLogin = errors.New(`keys and passwords are given to nobody who has not logged in: use "gatehouse backup --secrets" on the machine, or set up a login (listen.web_config)`)

// mostBackup bounds a backup that is sent here (octets).
const mostBackup = 64 << 20

// mostUpload bounds one that comes in a form.
const mostUpload = mostBackup + 1<<20

func (c *Console) backup(w http.ResponseWriter, _ *http.Request) {
	c.show(w, http.StatusOK, "backup", "Backup", (*Restored)(nil))
}

// keep gives a backup to take away, or weighs one and puts it back, as the button
// says that was pressed.
func (c *Console) keep(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("do") == "take" {
		if err := c.take(w, r, r.FormValue("secrets") != ""); err != nil {
			http.Error(w, err.Error(), statusOf(err))
		}
		return
	}
	f, _, err := r.FormFile("file")
	if err != nil {
		c.show(w, http.StatusBadRequest, "backup", "Backup", &Restored{Notes: []string{"Choose the file of a backup first: " + err.Error()}})
		return
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	restored, status := c.restore(r, text, r.FormValue("do") == "restore")
	c.show(w, status, "backup", "Backup", &restored)
}

// take sends a backup, or says why there is none.
func (c *Console) take(w http.ResponseWriter, r *http.Request, secrets bool) error {
	text, _, err := c.house.Backup(Asker(r), secrets)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Content-Disposition", `attachment; filename="gatehouse-`+c.house.State().Now.Format("2006-01-02")+`.zip"`)
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", c.house.State().Now, bytes.NewReader(text))
	return nil
}

func statusOf(err error) int {
	if errors.Is(err, ErrNoLogin) {
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

func (c *Console) restore(r *http.Request, text []byte, change bool) (Restored, int) {
	restored, err := c.house.Restore(Asker(r), text, change)
	switch {
	case err != nil:
		restored.Problems = append(restored.Problems, err.Error())
		return restored, http.StatusUnprocessableEntity
	case change && !restored.Allowed:
		return restored, http.StatusUnprocessableEntity
	}
	return restored, http.StatusOK
}

func (c *Console) apiBackup(w http.ResponseWriter, r *http.Request) {
	secrets, _ := strconv.ParseBool(r.URL.Query().Get("secrets"))
	if err := c.take(w, r, secrets); err != nil {
		trouble(w, statusOf(err), err)
	}
}

// apiRestore takes the backup that is the request's body.
func (c *Console) apiRestore(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		trouble(w, http.StatusRequestEntityTooLarge, errors.New("the backup is larger than one may be"))
		return
	}
	check, _ := strconv.ParseBool(r.URL.Query().Get("check"))
	restored, status := c.restore(r, text, !check)
	tell(w, status, restored)
}
