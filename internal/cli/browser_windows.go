package cli

func hasScreen() bool { return true }

func browser(path string) (name string, args []string) {
	return "rundll32", []string{"url.dll,FileProtocolHandler", path}
}
