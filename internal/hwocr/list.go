package hwocr

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
)

// Bounds of a list that does not end.
const (
	maxPages   = 5000
	maxRepeats = 3 // pages in a row without a row that is new
)

var maxDocuments = 1_000_000 // lower in a test

var (
	errEndless = errors.New("the list does not end")
	errRepeats = errors.New("the list gives the same page again and again")
)

// Documents lists the account's documents, newest first, page by page as they are
// asked for; perPage outside of 1 to 200 counts as 200. An error is the last thing
// yielded: without one, the list is complete, save for what was uploaded meanwhile.
// Where documents are deleted while it is read, it ends with [ErrShifted].
func (c *Client) Documents(ctx context.Context, perPage int) iter.Seq2[Document, error] {
	if perPage < 1 || perPage > 200 {
		perPage = 200
	}
	return func(yield func(Document, error) bool) {
		const op = "list"
		var total number           // that of the page before
		var before map[string]bool // ids on the page before
		count, repeats := 0, 0
		for n := 1; n <= maxPages && count <= maxDocuments; n++ {
			list, err := c.page(ctx, op, fmt.Sprintf("per_page=%d&page=%d", perPage, n))
			if err == nil && total.known && list.total.known && list.total.value < total.value {
				err = &Error{Op: op, Status: http.StatusOK, Err: ErrShifted}
			}
			if err != nil {
				yield(Document{}, err)
				return
			}
			ids := make(map[string]bool, len(list.documents))
			news := false
			for _, d := range list.documents {
				ids[d.ID] = true
				if before[d.ID] { // an upload pushed it down
					continue
				}
				news = true
				count++
				if !yield(d, nil) {
					return
				}
			}
			switch {
			case list.rows == 0, list.last > 0 && n >= list.last:
				return
			case list.last == 0 && !news:
				// A server that knows no pages sends the same one again. That a
				// page is short does not end the list: the server may allow fewer
				// rows than were asked for.
				return
			case news || len(list.documents) == 0:
				repeats = 0
			default:
				if repeats++; repeats == maxRepeats {
					yield(Document{}, &Error{Op: op, Status: http.StatusOK, Err: errRepeats})
					return
				}
			}
			total, before = list.total, ids
		}
		yield(Document{}, &Error{Op: op, Status: http.StatusOK, Err: errEndless})
	}
}

// Page returns one page of the list of the account's documents, newest first, counted
// from 1, and whether there is another: enough for who does not need to see all.
func (c *Client) Page(ctx context.Context, perPage, n int) (documents []Document, more bool, err error) {
	query := fmt.Sprintf("per_page=%d", perPage)
	if n > 1 {
		query += fmt.Sprintf("&page=%d", n)
	}
	list, err := c.page(ctx, "list", query)
	if err != nil {
		return nil, false, err
	}
	return list.documents, list.rows > 0 && n < list.last, nil
}

// page asks for one page by its number. The address of the next one, which the service
// names too, may lead to another host.
func (c *Client) page(ctx context.Context, op, query string) (page, error) {
	resp, err := c.ask(ctx, op, http.MethodGet, "/documents?"+query)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return page{}, failure(op, resp)
	}
	body, err := readJSON(resp)
	if err != nil {
		return page{}, wrong(op, resp, err)
	}
	list, err := parsePage(body)
	if err != nil {
		return page{}, wrong(op, resp, err)
	}
	return list, nil
}
