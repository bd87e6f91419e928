package cli

import (
	"os"

	"github.com/spf13/cobra"

	"scandrop/internal/pages"
)

// pagesTool looks into scans by a process of its own: this program's hidden
// command "pages".
func pagesTool() pages.Tool {
	self, err := os.Executable()
	if err != nil { // rather unbounded than not at all
		return pages.Tool{}
	}
	return pages.Tool{Command: []string{self, "pages"}}
}

func (a *app) pages() *cobra.Command {
	return &cobra.Command{
		Use:    "pages REQUEST",
		Short:  "Look into the scan that is the standard input",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			scan, ok := a.In.(*os.File)
			if !ok {
				return usage("", "the scan must be a file")
			}
			if status := pages.Serve(args[0], scan, a.Out); status != ExitFine {
				return &statusError{Status: status}
			}
			return nil
		},
	}
}
