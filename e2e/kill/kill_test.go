package kill

import "testing"

func TestKilledRunsComeOutTheSame(t *testing.T) { samples().survives(t, 4) }

func TestTheNaiveModeDiffers(t *testing.T) { samples().tells(t, 8) }
