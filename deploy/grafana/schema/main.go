// Reads dashboards by Grafana's own description of them (grafana-foundation-sdk, Apache-2.0): says what is missing, unknown
// or of another type. Exit code 1: something is.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	sound := true
	for _, path := range os.Args[1:] {
		text, err := os.ReadFile(path)
		if err == nil {
			read := dashboard.Dashboard{}
			if err = read.UnmarshalJSONStrict(text); err == nil {
				err = read.Validate()
			}
		}
		// A list of no errors is an error to Go.
		if err != nil && err.Error() != "" {
			sound = false
			fmt.Printf("%s: %v\n", path, err)
		}
	}
	if !sound {
		os.Exit(1)
	}
}
