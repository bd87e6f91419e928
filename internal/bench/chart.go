package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
)

// draw draws scans a second of the first load, a bar for each contender.
func draw(file string, outcomes []outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	first := outcomes[0].row.Name
	var bars []outcome
	most := 0.
	for _, o := range outcomes {
		if o.row.Name == first {
			bars = append(bars, o)
			most = max(most, float64(o.row.Scans)/o.took.Seconds())
		}
	}
	const left, width, height = 275, 360, 34
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", left+width+150, 50+height*len(bars))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="10" y="24" font-weight="bold">Scans a second: %s</text>`+"\n", html.EscapeString(first))
	for i, o := range bars {
		rate := float64(o.row.Scans) / o.took.Seconds()
		y, fill := 40+height*i, "#9aa5b1"
		if o.contender == "scandrop" {
			fill = "#2563eb"
		}
		fmt.Fprintf(&b, `<text x="10" y="%d">%s</text><rect x="%d" y="%d" width="%.0f" height="22" fill="%s"/><text x="%.0f" y="%d">%.0f, %.1f ms CPU</text>`+"\n",
			y+16, html.EscapeString(o.contender), left, y, rate/most*width, fill, left+6+rate/most*width, y+16,
			rate, o.cpu.Seconds()*1000/float64(o.row.Scans))
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(file, b.Bytes(), 0o644)
}
