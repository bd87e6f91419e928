package config

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// seal encrypts data so that only this machine can read it.
func seal(data []byte) ([]byte, error) {
	return protected(data, func(in, out *windows.DataBlob) error {
		const flags = windows.CRYPTPROTECT_LOCAL_MACHINE | windows.CRYPTPROTECT_UI_FORBIDDEN
		return windows.CryptProtectData(in, nil, nil, 0, nil, flags, out)
	})
}

// unseal decrypts what [seal] encrypted.
func unseal(data []byte) ([]byte, error) {
	return protected(data, func(in, out *windows.DataBlob) error {
		return windows.CryptUnprotectData(in, nil, nil, 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, out)
	})
}

func protected(data []byte, do func(in, out *windows.DataBlob) error) ([]byte, error) {
	if len(data) == 0 {
		return nil, windows.ERROR_INVALID_DATA
	}
	var out windows.DataBlob
	if err := do(&windows.DataBlob{Size: uint32(len(data)), Data: &data[0]}, &out); err != nil {
		return nil, err
	}
	defer func() {
		_, _ = windows.LocalFree(windows.Handle(unsafe.Pointer(out.Data))) // leaks at worst
	}()
	return append([]byte(nil), unsafe.Slice(out.Data, out.Size)...), nil
}
