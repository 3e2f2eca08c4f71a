// Command hard-brake is milepost with one more stage type.
package main

import (
	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/examples/hard-brake/hardbrake"
	"github.com/milepost-dev/milepost/stages"
)

func main() {
	stages := stages.Standard()
	stages.Add(hardbrake.Type)
	cmd.Main(stages)
}
