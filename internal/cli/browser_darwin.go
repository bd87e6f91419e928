package cli

func hasScreen() bool { return true }

func browser(url string) (name string, args []string) { return "open", []string{url} }
