package trigger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBulk: many runs are cancelled or replayed, those that were chosen when it was asked for and no others.
func TestBulk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type action struct {
		ID     string `json:"id"`
		Type   string `json:"type"`
		Status string `json:"status"`
		Counts struct {
			Total   int `json:"total"`
			Success int `json:"success"`
			Failure int `json:"failure"`
		} `json:"counts"`
	}
	do := func(body string) (a action) {
		t.Helper()
		b.json("POST", "/api/v1/bulk-actions", body, 202, &a)
		id := a.ID
		for a.Status == "" || a.Status == bulkPending {
			b.json("GET", "/api/v1/bulk-actions/"+id, "", 200, &a)
		}
		return a
	}
	check := func(what string, a action, typ string, success, failure int) {
		t.Helper()
		if a.Type != typ || a.Status != bulkCompleted || a.Counts.Total != success+failure || a.Counts.Success != success || a.Counts.Failure != failure {
			t.Errorf("%s: %+v", what, a)
		}
	}
	list := func(query string) (ids []string) {
		t.Helper()
		var v struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		status, out := b.do("GET", "/api/v1/runs?page[size]=100&"+query, nil, "X-Trigger-Api-Version", "2025-07-16")
		if status != 200 {
			t.Fatalf("list: %d %s", status, out)
		}
		b.json("GET", "/api/v1/runs?page[size]=100&"+query, "", 200, &v)
		for _, r := range v.Data {
			ids = append(ids, r.ID)
		}
		return ids
	}
	var runs []string
	for i := range 5 {
		runs = append(runs, b.tagged(fmt.Sprintf(`["t%d"]`, i%2), i))
	}
	check("cancel two by their ids, and nothing", do(fmt.Sprintf(`{"action":"cancel","name":"some","runIds":["%s","%s","run_nothing"]}`, runs[0], runs[1])), "CANCEL", 2, 1)
	check("cancel by a tag", do(`{"action":"cancel","filter":{"tag":"t0","status":["WAITING_FOR_DEPLOY","QUEUED"]}}`), "CANCEL", 2, 0)
	check("cancel again", do(fmt.Sprintf(`{"action":"cancel","runIds":["%s"]}`, runs[0])), "CANCEL", 0, 1)
	canceled := list("filter[status]=CANCELED")
	slices.Sort(canceled)
	want := []string{runs[0], runs[1], runs[2], runs[4]}
	slices.Sort(want)
	if diff := cmp.Diff(want, canceled); diff != "" {
		t.Errorf("cancelled (-want +got):\n%s", diff)
	}
	check("replay", do(`{"action":"replay","filter":{"status":"CANCELED","queue":{"type":"task","name":"told"},"isTest":false,"period":"1d"}}`), "REPLAY", 4, 0)
	if got := list(""); len(got) != 9 {
		t.Errorf("there are %d runs after four of five were replayed", len(got))
	}

	// What is done twice, because the progress was not written, is there once.
	ctx := t.Context()
	all, err := b.env().openBulks(ctx)
	if err != nil || len(all) != 0 {
		t.Errorf("actions under way: %v %v", all, err)
	}
	var page struct {
		Data       []action `json:"data"`
		Pagination struct {
			Next string `json:"next"`
		} `json:"pagination"`
	}
	b.json("GET", "/api/v1/bulk-actions?page[size]=3", "", 200, &page)
	if len(page.Data) != 3 || page.Data[0].Type != "REPLAY" || page.Pagination.Next != page.Data[2].ID {
		t.Errorf("a page of actions: %+v", page)
	}
	if _, err := b.env().changeBulk(ctx, page.Data[0].ID, func(x *bulk) { x.Status, x.Done = bulkPending, 0 }); err != nil {
		t.Fatal(err)
	}
	if err := b.env().runBulk(ctx, page.Data[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := list(""); len(got) != 9 {
		t.Errorf("there are %d runs after the replay was repeated", len(got))
	}
	if _, err := b.env().changeBulk(ctx, page.Data[0].ID, func(x *bulk) { x.Status, x.Done = bulkPending, 0 }); err != nil {
		t.Fatal(err)
	}
	b.json("POST", "/api/v1/bulk-actions/"+page.Data[0].ID+"/abort", "", 200, nil)
	var aborted action
	if b.json("GET", "/api/v1/bulk-actions/"+page.Data[0].ID, "", 200, &aborted); aborted.Status != bulkAborted {
		t.Errorf("an aborted action: %+v", aborted)
	}

	for body, says := range map[string]string{
		`{"action":"delete","runIds":["a"]}`: "cancel or replay", `{"action":"cancel"}`: "Exactly one", `{"action":"cancel","runIds":["a"],"filter":{"tag":"a"}}`: "Exactly one",
		`{"action":"cancel","filter":{}}`: "At least one filter", `{"action":"cancel","filter":{"tag":[]}}`: "At least one filter", `{"action":"cancel","runIds":[]}`: "1 to",
		`{"action":"cancel","filter":{"region":"eu"}}`: "cannot filter by region", `{"action":"cancel","filter":{"status":"NONE"}}`: "Invalid status values", `{"action":"cancel","filter":{"from":"x"}}`: "Invalid date",
		`{"action":"cancel","filter":{"tag":{"a":1}}}`: "Invalid input", `{"action":"cancel","runIds":["a"],"name":"` + strings.Repeat("n", 256) + `"}`: "Name must be",
	} {
		if status, out := b.do("POST", "/api/v1/bulk-actions", []byte(body)); status != 400 || !strings.Contains(string(out), says) {
			t.Errorf("%.60s: %d %s", body, status, out)
		}
	}
	b.json("GET", "/api/v1/bulk-actions/bulk_nothing", "", 404, nil)
	b.json("POST", "/api/v1/bulk-actions/bulk_nothing/abort", "", 404, nil)
}
