// Command milepost replays recorded drives through the pipelines that pipelines.yaml declares.
package main

import (
	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/stages"
)

func main() { cmd.Main(stages.Standard()) }
