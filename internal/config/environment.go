package config

import (
	"os"
	"path/filepath"
)

// Environment is what a configuration is completed from besides its file. The zero value is the empty environment of an
// ordinary user.
type Environment struct {
	// Getenv returns the value of an environment variable, "" if it is not set. Nil stands for an empty environment.
	Getenv func(name string) string

	// Machine says that scandrop works for the whole machine: the process runs as root, or elevated on Windows.
	Machine bool
}

// Process returns the environment of this process.
func Process() Environment {
	return Environment{Getenv: os.Getenv, Machine: privileged()}
}

// DefaultPath returns the configuration file that is read when none is named. For the machine it is
//
//	/etc/scandrop/config.yaml                             on Linux
//	/Library/Application Support/scandrop/config.yaml     on macOS
//	%ProgramData%\scandrop\config.yaml                    on Windows
//
// and for a user scandrop/config.yaml in $XDG_CONFIG_HOME or ~/.config, ~/Library/Application Support, or %AppData%. A
// user without a file of their own gets the machine's if there is one, so that the command line finds the service.
func DefaultPath(env Environment) string {
	machine := machineConfig(env)
	if env.Machine {
		return machine
	}
	own := userConfig(env)
	if own == "" || !exists(own) && exists(machine) {
		return machine
	}
	return own
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// get returns the value of an environment variable.
func (e Environment) get(name string) string {
	if e.Getenv == nil {
		return ""
	}
	return e.Getenv(name)
}

// folder returns the first of the named variables that holds an absolute path, or "": relative ones mean nothing to a
// process that can be started anywhere.
func (e Environment) folder(names ...string) string {
	for _, name := range names {
		if p := e.get(name); filepath.IsAbs(p) {
			return p
		}
	}
	return ""
}

// state returns the default state folder, "" if there is none. It goes with the configuration: whoever reads the
// machine's file must find the machine's queue.
func (e Environment) state(config string) string {
	// With several StateDirectory= entries, the first is the state folder.
	if list := filepath.SplitList(e.get("STATE_DIRECTORY")); len(list) > 0 && filepath.IsAbs(list[0]) {
		return list[0]
	}
	if e.Machine || samePath(config, machineConfig(e)) {
		return machineState(e)
	}
	return userState(e)
}

// under returns the path of elem below dir, or "" if dir is not known.
func under(dir string, elem ...string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}

// MachineState returns the state folder of the machine's service, if the configuration names none.
func MachineState(env Environment) string { return machineState(env) }
