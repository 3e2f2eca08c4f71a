// Command milepost-chaos is milepost with the stages of package ordeal.
package main

import (
	"github.com/milepost-dev/milepost/cmd"
	"github.com/milepost-dev/milepost/e2e/chaos/ordeal"
)

func main() { cmd.Main(ordeal.Registry()) }
