package bridge

import (
	"hash/maphash"
	"sync/atomic"
)

// unsealed keeps what the session ids in use stand for, so that an id is
// decrypted once and not with every call. It is bounded and takes no lock: two
// ids that want one place take it from each other, and both stay valid.
type unsealed struct {
	seed   maphash.Seed
	places [256]atomic.Pointer[opened]
}

// opened is one id with its content. Neither changes. What can change, whose
// it has to be and whether it has ended, is asked anew every time.
type opened struct {
	id      string
	session session
}

func (u *unsealed) place(id string) *atomic.Pointer[opened] {
	return &u.places[maphash.String(u.seed, id)%uint64(len(u.places))]
}
