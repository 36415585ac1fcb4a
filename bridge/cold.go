package bridge

import (
	"net/http"
	"time"
)

// shelvesOf are the shelves a person may be answered from.
func (s *Server) shelvesOf(p profile, who string) []string {
	if s.private() {
		return []string{p.shelf(who)}
	}
	return []string{forAll, ownShelf(who)}
}

// cold answers a list from the catalogue while no worker of the caller's runs,
// and has one started behind the answer. It is one page, for a cursor is only
// good with the worker that gave it.
func (x *exchange) cold() bool {
	call := &x.call
	if call.method.listing == noListing || !call.wholeList() {
		return false
	}
	s, p := x.s, call.profile(x.s)
	id := s.ident.Load()
	if id == nil || s.running(s.keyFor(p, call.Principal)) != nil {
		return false
	}
	for _, name := range s.shelvesOf(p, call.Principal) {
		got := s.stock(name, call.method.listing)
		if got == nil || got.program != id.program || time.Since(got.at) > memoryAge {
			continue
		}
		got.served.Store(true)
		items := got.items
		if call.Modern && call.method.listing == toolListing {
			items = got.tidied().out
		}
		x.answerList(id, x.sifted(items))
		s.restockAll(p, call.Principal)
		return true
	}
	return false
}

// answerList words a list for either generation.
func (x *exchange) answerList(id *identity, items []byte) {
	own := x.s.bufs.get()
	defer x.s.bufs.put(own)
	own.b = append(own.b, '{')
	if x.call.Modern {
		own.b = append(own.b, `"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"`+metaServer+`":`...)
		own.b = append(append(own.b, id.info...), "},"...)
	}
	own.b = append(append(own.b, '"'), x.call.method.listing.member()...)
	own.b = append(own.b, `":`...)
	var p pieces
	p.add(responseHead)
	p.add(x.id)
	p.add(resultHead)
	p.add(own.b)
	p.add(items)
	p.add([]byte(`}}`))
	x.finalPieces(http.StatusOK, &p)
}
