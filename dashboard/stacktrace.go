package dashboard

import (
	"runtime/debug"
	"strings"
	"sync"
)

// stackView is a stack as the runtime prints it, with the frames of the
// program itself first: they are what somebody looks for.
type stackView struct {
	Own  string
	Rest string
	Gone bool // the job does not run any more
}

// ownModule is the path of the program's module, "" if that is not known.
var ownModule = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return info.Main.Path
})

// readStack parts a stack; nil for none.
func readStack(text string) *stackView {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	var own strings.Builder
	for i, line := range lines {
		if isOwnFrame(line) {
			own.WriteString(line + "\n")
			if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\t") {
				own.WriteString(lines[i+1] + "\n")
			}
		}
	}
	if own.Len() == 0 {
		return &stackView{Rest: text}
	}
	return &stackView{Own: strings.TrimRight(own.String(), "\n"), Rest: text}
}

// isOwnFrame says whether the line names a function of the program: of its
// main package, of its module, or, if that is not known, of anything that is
// neither the standard library nor stint.
func isOwnFrame(line string) bool {
	line = strings.TrimPrefix(line, "created by ")
	if strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "goroutine ") || strings.HasPrefix(line, "github.com/stintq/stint.") || !strings.ContainsAny(line, "(.") {
		return false
	}
	if module := ownModule(); module != "" && (strings.HasPrefix(line, module+".") || strings.HasPrefix(line, module+"/")) {
		return true
	}
	host, _, isPath := strings.Cut(line, "/")
	return strings.HasPrefix(line, "main.") || ownModule() == "" && isPath && strings.Contains(host, ".")
}
