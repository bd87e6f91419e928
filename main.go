// Scandrop watches folders for scans and puts the text that the Handwriting
// OCR API reads in them next to the originals. See README.md.
package main

import (
	"embed"
	"io/fs"
	"os"

	"scandrop/internal/cli"
)

//go:embed testdata/scans
var samples embed.FS

func main() {
	scans, err := fs.Sub(samples, "testdata/scans")
	if err != nil {
		panic(err) // the path is a constant, and valid
	}
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, scans))
}
