//go:build tools

// Pins the tusd that tests/interop builds; nothing here is compiled.
package tools

import _ "github.com/tus/tusd/v2/cmd/tusd"
