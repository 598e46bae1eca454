package trigger

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quartetjobs/quartet/internal/store"
)

// TestRunsAreFoundBehindMany: a page that has looked at as much as it may says where the next one goes on, so that nothing is out of reach.
func TestRunsAreFoundBehindMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	trigger := func(tag string) string {
		t.Helper()
		var v struct {
			ID string `json:"id"`
		}
		b.json("POST", "/api/v1/tasks/told/trigger", `{"payload":"1","options":{"ttl":0,"tags":"`+tag+`"}}`, 200, &v)
		return v.ID
	}
	first, second := trigger("rare"), trigger("rare")
	b.now.Add(int64(time.Hour / time.Millisecond))
	const page, many = 100, 350
	for range many {
		trigger("common")
	}
	q := store.Query{Table: store.Runs, Desc: true, Limit: page}
	var got []string
	looks := 0
	for more := true; more; looks++ {
		found, err := b.door.findRuns(httptest.NewRequest("GET", "/", nil), []*environment{b.env()}, &runFilter{tags: []string{"rare"}}, q, 10, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range found.runs {
			got = append(got, friendly(runPrefix, x.rec.ID))
		}
		more, q.To = found.more, found.reached.Bytes()
	}
	if fmt.Sprint(got) != fmt.Sprint([]string{second, first}) || looks != many/page+1 {
		t.Errorf("after %d looks %v were found, want %s and %s after %d", looks, got, second, first, many/page+1)
	}

	list := func(query string) (n int, next string) {
		t.Helper()
		var v struct {
			Data       []struct{ ID string }
			Pagination struct{ Next string }
		}
		b.json("GET", "/api/v1/runs?"+query, "", 200, &v)
		return len(v.Data), v.Pagination.Next
	}
	if n, next := list("filter[tag]=rare"); n != 2 || next != "" {
		t.Errorf("%d runs, then %q", n, next)
	}
	if n, next := list("page[size]=1&filter[tag]=rare"); n != 1 || next != second {
		t.Errorf("%d runs, then %q, want %s", n, next, second)
	}
	if n, _ := list("filter[taskIdentifier]=told&page[size]=100"); n != 100 {
		t.Errorf("%d runs of the task", n)
	}
	if n, _ := list("filter[taskIdentifier]=other"); n != 0 {
		t.Errorf("%d runs of another task", n)
	}
	at := b.now.Load()
	for query, want := range map[string]int{
		fmt.Sprintf("filter[createdAt][to]=%d", at-1): 2, fmt.Sprintf("filter[createdAt][from]=%d", at): 100,
		fmt.Sprintf("filter[createdAt][from]=%d&filter[createdAt][to]=%d", at-1, at-1): 0, "filter[createdAt][period]=30m&filter[tag]=rare": 0,
	} {
		if n, _ := list(query + "&page[size]=100"); n != want {
			t.Errorf("%s: %d runs, want %d", query, n, want)
		}
	}
	var project struct {
		Data []struct{ Env struct{ Name string } }
	}
	b.json("POST", "/api/v1/projects/proj_shop/background-workers", `{"engine":"V2","metadata":{"contentHash":"h","tasks":[{"id":"told"}]}}`, 200, nil)
	b.json("GET", "/api/v1/projects/proj_shop/runs?page[size]=5&filter[env]=dev,prod", "", 200, &project)
	if len(project.Data) != 5 || project.Data[0].Env.Name != "dev" {
		t.Errorf("of the project: %+v", project.Data)
	}
	b.json("GET", "/api/v1/projects/proj_shop/runs?filter[env]=prod", "", 200, &project)
	if len(project.Data) != 0 {
		t.Errorf("of production: %+v", project.Data)
	}
	if status, out := b.do("GET", "/api/v1/projects/proj_nobody/runs", nil); status != 404 || !strings.Contains(string(out), "Project not found") {
		t.Errorf("of no project: %d %s", status, out)
	}
}
