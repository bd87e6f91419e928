package service

import (
	"context"
	"errors"
	"testing"
)

func TestRunByHand(t *testing.T) {
	want := errors.New("its own error")
	ctx := context.WithValue(t.Context(), t, "ours")
	err := Run(ctx, func(got context.Context) error {
		if got != ctx {
			t.Error("work does not run under the caller's context")
		}
		return want
	}, nil)
	if err != want {
		t.Errorf("Run = %v, want what work returned", err)
	}
}
