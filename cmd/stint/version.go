package main

import (
	"cmp"
	"encoding/json"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Tell the version of this command", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			raw, err := json.Marshal(map[string]string{"version": commandVersion(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			if err != nil {
				return err
			}
			if done, err := a.printedJSON(raw); done {
				return err
			}
			return a.say("stint", commandVersion(), runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
		},
	}
}

// commandVersion is that of the module, or the revision it was built from.
func commandVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := cmp.Or(info.Main.Version, "unknown")
	if version == "(devel)" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "devel " + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return version
}
