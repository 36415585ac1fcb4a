package bridge

import "testing"

// TestQuestionsOfAnotherLife: a session goes on after a restart or a reload, and a late answer to a question of before
// is not taken for the answer to one that was asked since.
func TestQuestionsOfAnotherLife(t *testing.T) {
	who := newSID()
	var asked []*question
	var lives []*Server
	for range 2 {
		s := testServer(t, DefaultConfig(), nil, nil)
		q := &question{who: who, x: s.exchange(nil, nil)}
		s.questions.add(q)
		lives, asked = append(lives, s), append(asked, q)
	}
	if lives[1].questions.answer(who, asked[0].id, &answer{}) {
		t.Error("an answer to another life's question was taken")
	}
	if !lives[1].questions.answer(who, asked[1].id, &answer{}) {
		t.Error("an answer to this life's question was not taken")
	}
}
