package sandbox_test

import (
	"fmt"

	"scandrop/internal/sandbox"
)

func ExampleParseScript() {
	script, err := sandbox.ParseScript(`
# A bad day at the service.
seed 42
any p=0.01: 503 retry-after 5      # now and then
any every 50: made 502 html        # a gateway gives up on work that was done
upload 1: 401 for 1h               # the token is refused, then works again
upload 3: lost                     # a document that its owner was never told of
upload 4-5: drop 1000              # two that never arrive
upload 6: fail "the page is blank"
download always: slow 2s
download 2: cut 100
list: lag 20s
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(script)
	// Output:
	// seed 42
	// any p=0.01: 503 retry-after 5
	// any every 50: made 502 html
	// upload 1: 401 for 1h0m0s
	// upload 3: lost
	// upload 4-5: drop 1000
	// upload 6: fail "the page is blank"
	// download: slow 2s
	// download 2: cut 100
	// list: lag 20s
}

func ExampleParseScript_mistakes() {
	_, err := sandbox.ParseScript("upload 3: explode\nlist 0: lag 20s\nupload: lag 20s")
	fmt.Println(err)
	// Output:
	// line 1: unknown action "explode": write a status code or one of cut, drip, drop, empty, fail, garbage, lag, long, lost, made, nonames, redirect, rename, short, slow, stay, twin, vanish
	// line 2: "0" picks no calls: write 3, 2-5, every 7, p=0.01 or always
	// line 3: "lag" does not go with upload: it goes with list
}
