// Generate writes the sample recordings of this repository. They are SIMULATED: made up by the code in this folder, from
// fixed seeds, so that the same code writes the same bytes.
//
//	go generate ./samples
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	for _, s := range scenarios {
		file := filepath.Join(dir, s.file)
		if err := s.write(file); err != nil {
			fmt.Fprintf(os.Stderr, "write %s: %v\n", file, err)
			os.Exit(1)
		}
	}
}
