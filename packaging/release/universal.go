package main

import (
	"bytes"
	"context"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// universal makes the archive for macOS, whose one program runs on both of its processors.
func (r *release) universal(_ context.Context, slices ...system) error {
	programs := make([][]byte, len(slices))
	for i, s := range slices {
		var err error
		if programs[i], err = os.ReadFile(r.program(s)); err != nil {
			return err
		}
	}
	fat, err := join(programs...)
	if err != nil {
		return fmt.Errorf("the universal program: %w", err)
	}
	program := filepath.Join(r.work, "darwin-universal", "scandrop")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(program, fat, 0o755); err != nil {
		return err
	}
	return r.archiveOf("darwin", "universal", program)
}

// join returns the Mach-O programs as one, as lipo does: a header in big
// endian that says where each begins, and the programs as they are, so that
// what is signed stays so.
func join(programs ...[]byte) ([]byte, error) {
	const align = 14 // 16 KB, a page of arm64; the page of amd64 divides it
	header := binary.BigEndian.AppendUint32(nil, macho.MagicFat)
	header = binary.BigEndian.AppendUint32(header, uint32(len(programs)))
	var body []byte
	const room = 1 << align // the header's
	for _, p := range programs {
		f, err := macho.NewFile(bytes.NewReader(p))
		if err != nil {
			return nil, err
		}
		for len(body)%(1<<align) != 0 {
			body = append(body, 0)
		}
		for _, field := range []uint32{uint32(f.Cpu), f.SubCpu, uint32(room + len(body)), uint32(len(p)), align} {
			header = binary.BigEndian.AppendUint32(header, field)
		}
		body = append(body, p...)
	}
	return append(append(header, make([]byte, room-len(header))...), body...), nil
}
