package queue

import (
	"bytes"
	"slices"
	"testing"
)

// TestPacked: what is packed comes back, and after another; what is damaged or would fill
// memory is an error.
func TestPacked(t *testing.T) {
	for _, text := range [][]byte{{}, []byte(`{"id":1,"state":"done"}`), dictionary, bytes.Repeat([]byte("scan"), 1<<20)} {
		packed, err := pack([]byte("before"), text)
		if err != nil || !bytes.HasPrefix(packed, []byte("before")) {
			t.Fatalf("%d bytes: %v", len(text), err)
		}
		got, err := unpack(packed[len("before"):])
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes came back as %d, %v", len(text), len(got), err)
		}
	}
	packed, err := pack(nil, []byte(`{"id":1,"state":"done","path":"/srv/letters/a.pdf"}`))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := unpack(packed[:len(packed)/2]); err == nil {
		t.Errorf("half of it is %q", text)
	}
	bomb, err := pack(nil, slices.Repeat([]byte{0}, longestPacked+1))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := unpack(bomb); err == nil {
		t.Errorf("%d bytes are packed in %d", len(text), len(bomb))
	}
}
