package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// treeNode is a JSON value as a page shows it. Numbers keep their digits, and
// keys their order.
type treeNode struct {
	Key      string
	Sort     string // object or array; "" for a scalar
	Text     string // of a scalar; a string without its quotes
	Quoted   bool   // it is a string
	Children []*treeNode
	Left     int // children that are left out
	Open     bool
}

// Size is how many children it has.
func (n *treeNode) Size() int { return len(n.Children) + n.Left }

// Many is the name of its children.
func (n *treeNode) Many() string {
	if n.Sort == "object" {
		return "keys"
	}
	return "values"
}

// One is the name of a single one.
func (n *treeNode) One() string { return strings.TrimSuffix(n.Many(), "s") }

const (
	maxTreeNodes = 2000
	maxTreeDepth = 50
	openDepth    = 2  // deeper ones are folded
	openChildren = 20 // and longer ones as well
)

const (
	maxIndented    = 128 << 10 // bytes, larger JSON is shown in one line,
	maxIndentDepth = 20        // and deeper one as well: indents would be most of it
)

// indented is JSON with a line for each value, or what is none as it is.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) > maxIndented || depthOf(raw) > maxIndentDepth || json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// depthOf is how deep JSON is, or deeper if its strings have brackets in them.
func depthOf(raw []byte) (deepest int) {
	depth := 0
	for _, c := range raw {
		switch c {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	return deepest
}

var errTreeTooDeep = errors.New("dashboard: the value is too deep for a tree")

// treeOf reads JSON; nil for none. What is too large is left out, what is too
// deep is an error: it is shown as it is then.
func treeOf(raw json.RawMessage) (*treeNode, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	b := &treeBuilder{dec: json.NewDecoder(bytes.NewReader(raw)), left: maxTreeNodes}
	b.dec.UseNumber()
	return b.node("", 0)
}

type treeBuilder struct {
	dec  *json.Decoder
	left int
}

func (b *treeBuilder) node(key string, depth int) (*treeNode, error) {
	token, err := b.dec.Token()
	if err != nil {
		return nil, err
	}
	b.left--
	n := &treeNode{Key: key}
	switch v := token.(type) {
	case json.Delim:
		if depth == maxTreeDepth {
			return nil, errTreeTooDeep
		}
		n.Sort = map[json.Delim]string{'{': "object", '[': "array"}[v]
		if err := b.children(n, depth); err != nil {
			return nil, err
		}
		n.Open = depth < openDepth && (depth == 0 || len(n.Children) <= openChildren)
	case string:
		n.Text, n.Quoted = v, true
	default:
		n.Text = scalarText(v)
	}
	return n, nil
}

func (b *treeBuilder) children(n *treeNode, depth int) error {
	for b.dec.More() {
		key := ""
		if n.Sort == "object" {
			token, err := b.dec.Token()
			if err != nil {
				return err
			}
			key = token.(string)
		}
		if b.left <= 0 {
			n.Left++
			var skipped json.RawMessage
			if err := b.dec.Decode(&skipped); err != nil {
				return err
			}
			continue
		}
		child, err := b.node(key, depth+1)
		if err != nil {
			return err
		}
		n.Children = append(n.Children, child)
	}
	_, err := b.dec.Token()
	return err
}
