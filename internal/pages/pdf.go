package pages

import (
	"errors"
	"io"
	"sync"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
)

// quiet keeps pdfcpu from writing a configuration folder of its own.
var quiet = sync.OnceFunc(api.DisableConfigDir)

// openPDF reads a PDF. One that pdfcpu calls invalid may still be good enough: if
// it cannot be validated it is at least read.
func openPDF(r io.ReadSeeker) (*model.Context, error) {
	quiet()
	ctx, err := api.ReadAndValidate(r, model.NewDefaultConfiguration())
	if err == nil || errors.Is(err, pdfcpu.ErrWrongPassword) {
		return ctx, err
	}
	if ctx, again := api.ReadContext(r, model.NewDefaultConfiguration()); again == nil && ctx.EnsurePageCount() == nil {
		return ctx, nil
	}
	return nil, err
}

func inspectPDF(r io.ReadSeeker) (Report, error) {
	ctx, err := openPDF(r)
	if errors.Is(err, pdfcpu.ErrWrongPassword) {
		return Report{Encrypted: true}, nil
	}
	if err != nil {
		return Report{}, err
	}
	return Report{Pages: ctx.PageCount}, nil
}
