package dashboard

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// sheetDrawn is what a reader with a role gets.
func sheetDrawn(t *testing.T, s *sheet, role Role) string {
	t.Helper()
	v := &view{Base: "../", Here: "here?a=b&c", Access: Access{Role: role}}
	var b bytes.Buffer
	require.NoError(t, parsePages()["queues"].ExecuteTemplate(&b, "sheet", v.Sheet(s)))
	return b.String()
}

// Whatever a cell has is text, in elements and in attributes.
func TestSheetEscapes(t *testing.T) {
	t.Parallel()
	const evil = `"><script>alert(1)</script><b x='`
	f := &form{Role: "operate", Action: "do", Hidden: []hidden{{evil, evil}}, Reason: evil, Expect: 12, Buttons: []button{
		{Text: evil, Label: evil, Verb: evil, Class: evil, Ask: evil}, {Text: "Delete", Role: "admin"},
	}}
	s := &sheet{
		Caption: evil, Head: columns(evil, evil, evil, ""), Turns: []choice{{Name: evil, Link: "?x=" + evil}},
		Rows: [][]cell{{
			link("queue?name="+evil, evil).badge(evil, evil).and(under(evil), remark(evil)),
			cell{{Text: evil, Code: true, Class: evil}, {Text: evil}, {At: time.Unix(990, 0), Class: evil}},
			bar(1, 2, evil).and(part{Meter: &meter{Part: 1, Whole: 2, Text: evil, Progress: true}}, part{Runs: []stint.ScheduleRun{{Reason: evil}}}),
			f.in(),
		}},
	}
	for _, role := range []Role{View, Operate, Admin} {
		body := sheetDrawn(t, s, role)
		require.NotContains(t, body, "<script")
		require.NotContains(t, body, "<b ")
		require.NotContains(t, body, "'")
		require.Equal(t, role >= Operate, strings.Contains(body, "<form"))
		require.Equal(t, role >= Admin, strings.Contains(body, "Delete"))
	}
}

func TestSheet(t *testing.T) {
	t.Parallel()
	s := &sheet{Caption: "Things", Hidden: true, Head: columns("Name", "#N", "When", "")}
	s.add(link("queue?name=a%2Fb", "a/b").badge("bad", "late").badge("", ""), words(count(12)), timeCell(time.Now().Add(-61*time.Second)), (*form)(nil).in())
	s.add(words("c"), orNone(false, "5"), timeCell(time.Time{}), cell{{Picture: template.HTML("<svg></svg>")}})
	body := strings.Join(strings.Fields(sheetDrawn(t, s, View)), " ")
	require.Contains(t, body, `<caption class="hidden">Things</caption> <thead><tr><th scope="col">Name</th><th scope="col" class="num">N</th><th scope="col">When</th><td></td></tr></thead>`)
	require.Contains(t, body, `<tr><th scope="row"><a href="../queue?name=a%2Fb">a/b</a> <span class="badge bad">late</span></th><td class="num" data-label="N">12</td>`)
	require.Contains(t, body, `data-ago>1 min 1 s ago</time></span></td><td></td></tr>`)
	require.Contains(t, body, `<td class="num" data-label="N">–</td><td data-label="When">–</td><td><svg></svg></td>`)
}

// Long lists come in pages, each of which leads to the next.
func TestLongSheetsHaveTurns(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	q.DB().NoSync = true
	for i := range 450 {
		_, err := q.EnqueueJSON(t.Context(), fmt.Sprintf("kind.%03d", i), []byte("{}"), stint.OnQueue(fmt.Sprintf("queue.%03d", i)))
		require.NoError(t, err)
	}
	h := testHandler(q, View)
	for _, path := range []string{"/kinds?sort=name", "/queues?x=1"} {
		for from, want := range map[string]struct {
			first, last string
			rows        int
			turns       []string
		}{
			"": {"000", "199", 200, []string{"250 more"}}, "200": {"200", "399", 200, []string{"First rows", "50 more"}}, "400": {"400", "449", 50, []string{"First rows"}},
			"450": {"000", "199", 200, []string{"250 more"}}, "-3": {"000", "199", 200, []string{"250 more"}}, "many": {"000", "199", 200, []string{"250 more"}},
		} {
			res, body := get(t, h, path+"&from="+from)
			require.Equal(t, http.StatusOK, res.StatusCode)
			others := strings.Count(body, `<th scope="row">other kinds`)
			require.Equal(t, want.rows, strings.Count(body, `<th scope="row">`)-others, from)
			require.Equal(t, path == "/kinds?sort=name" && from == "400", others == 1, from)
			require.Contains(t, body, "."+want.first+"</a>")
			require.Contains(t, body, "."+want.last+"</a>")
			_, turns, _ := strings.Cut(body, `<p class="pages">`)
			turns, _, _ = strings.Cut(turns, "</p>")
			for _, turn := range want.turns {
				require.Contains(t, turns, ">"+turn+"</a>")
			}
			require.Equal(t, len(want.turns), strings.Count(turns, "<a "), from)
		}
	}
	_, body := get(t, h, "/kinds?sort=name&from=200")
	require.Contains(t, body, `href="?from=400&amp;sort=name"`)
	require.Contains(t, body, `href="?sort=runs"`) // another order begins anew
	require.Contains(t, body, `href="?sort=name">First rows`)
}

// The log of actions, tasks and schedules show what people wrote as text.
func TestMarkupOfPeopleIsText(t *testing.T) {
	t.Parallel()
	q := testQueue(t, nil)
	const evil = `"><script>alert(1)</script><b x='`
	require.NoError(t, q.Periodic("nightly", "0 2 * * *", healthJob{}))
	h := testHandler(q, Admin)
	for _, path := range []string{"/schedules/pause", "/schedules/run"} {
		res, body := post(t, h, path, url.Values{"schedule": {"nightly"}, "reason": {evil}})
		require.Equal(t, http.StatusSeeOther, res.StatusCode, body)
	}
	require.NoError(t, q.LogAction(t.Context(), stint.Action{By: evil, Verb: evil, Target: evil, Note: evil}))
	_, err := q.EnqueueBatch(t.Context(), slices.Values([]stint.Args{healthJob{}}), &stint.BatchPolicy{Name: "evil"})
	require.NoError(t, err)
	for _, path := range []string{"/system", "/schedules", "/schedule?name=nightly", "/batches", "/?x=" + url.QueryEscape(evil)} {
		res, body := get(t, h, path)
		require.Equal(t, http.StatusOK, res.StatusCode, body)
		require.NotContains(t, body, "<script>", path)
		require.NotContains(t, body, "<b x", path)
	}
	_, body := get(t, h, "/system")
	require.Contains(t, cardOf(t, body, "Who did what"), "&lt;script&gt;alert(1)")
	_, body = get(t, h, "/schedules")
	require.Contains(t, body, "by ana (&#34;&gt;&lt;script&gt;")
}

func TestMarkup(t *testing.T) {
	t.Parallel()
	w := &markup{}
	w.put(`<text x="%.1f" n="%d" title="%s">%s</text>`, 1.25, 7, `"a'&<b>`, `</text><script>`)
	require.Equal(t, `<text x="1.2" n="7" title="&#34;a&#39;&amp;&lt;b&gt;">&lt;/text&gt;&lt;script&gt;</text>`, string(w.html()))
	for _, other := range []any{template.HTML("<b>"), stint.State(0), []byte("<b>"), fmt.Errorf("<b>"), nil} {
		require.Panics(t, func() { w.put(`%v`, other) })
	}
}
