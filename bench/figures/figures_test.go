package figures

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFiguresHaveThreeDigits(t *testing.T) {
	for want, v := range map[string]float64{
		"0": 0, "0.28": 0.2812, "9.60": 9.6, "12": 12.0004, "12.3": 12.34, "158": 158.4, "1,234": 1234.4, "1,000,000": 999999.9, "-0.50": -0.5,
	} {
		require.Equal(t, want, Short(v))
	}
}

func TestTheMedianOfAnEvenNumberIsBetweenTheMiddleTwo(t *testing.T) {
	require.Equal(t, 2.0, Median([]float64{3, 1, 2}))
	require.Equal(t, 2.5, Median([]float64{4, 1, 2, 3}))
}
