// Package storetest is the contract of idp.Store, as tests: an implementation is one when it passes.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) idp.Store { return open(t) })
//	}
//
// It does not test speed, durability after a power cut, or several processes on one store.
package storetest
