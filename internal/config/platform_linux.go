package config

func machineConfig(Environment) string { return "/etc/scandrop/config.yaml" }
func machineState(Environment) string  { return "/var/lib/scandrop" }

func userConfig(e Environment) string {
	if dir := e.folder("XDG_CONFIG_HOME"); dir != "" {
		return under(dir, "scandrop", "config.yaml")
	}
	return under(home(e), ".config", "scandrop", "config.yaml")
}

func userState(e Environment) string {
	if dir := e.folder("XDG_STATE_HOME"); dir != "" {
		return under(dir, "scandrop")
	}
	return under(home(e), ".local", "state", "scandrop")
}

// pathKey returns what two names of the same file have in common.
func pathKey(path string) string { return path }
