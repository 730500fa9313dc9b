package appliance

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/servicetags"
)

func TestTheLogSaysHowOldTheServiceTagsAre(t *testing.T) {
	issued := servicetags.Builtin().Date
	for days, says := range map[int]string{30: "", 31: "level=WARN", 120: "level=WARN", 121: "level=ERROR"} {
		var log bytes.Buffer
		a := &Appliance{Options: Options{
			Log: slog.New(slog.NewTextHandler(&log, nil)),
			Now: func() time.Time { return issued.AddDate(0, 0, days) },
		}, tags: newTagShelf("")}
		a.sayTagsAge()
		if says == "" {
			require.Empty(t, log.String(), days)
			continue
		}
		require.Contains(t, log.String(), says, days)
		require.Contains(t, log.String(), "gatehouse azure import", days)
	}
}
