package service

import (
	"context"
	"errors"
	"testing"
)

func TestRunByHand(t *testing.T) {
	if managed() {
		t.Skip("a service manager started this test")
	}
	want := errors.New("its own error")
	ctx := context.WithValue(t.Context(), t, "ours")
	err := Run(ctx, func(got context.Context) error {
		if got != ctx {
			t.Error("work does not run under the caller's context")
		}
		return want
	})
	if err != want {
		t.Errorf("Run = %v, want what work returned", err)
	}
}

func TestStopEndsWork(t *testing.T) {
	want := errors.New("its own error")
	p := &program{parent: t.Context(), ended: make(chan error, 1), work: func(ctx context.Context) error {
		<-ctx.Done()
		return want
	}}
	if err := p.Start(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(nil); err != nil {
		t.Fatal(err)
	}
	if p.result != want {
		t.Errorf("result = %v, want what work returned", p.result)
	}
}
