package watcher

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestSniff(t *testing.T) {
	for name, tt := range map[string]struct{ head, ext, media string }{
		"pdf":           {"%PDF-1.4\n", ".pdf", "application/pdf"},
		"pdf, BOM":      {"\ufeff%PDF-1.4\n", ".pdf", "application/pdf"},
		"pdf, mail":     {"Content-Type: application/pdf\r\n\r\n%PDF-1.4\n", ".pdf", "application/pdf"},
		"pdf, 1024":     {strings.Repeat("\x00", 1024) + "%PDF-1.4\n", ".pdf", "application/pdf"},
		"pdf, 1025":     {strings.Repeat("\x00", 1025) + "%PDF-1.4\n", "", "application/octet-stream"},
		"pdf in zip":    {"PK\x03\x04\x14" + strings.Repeat("\x00", 21) + "\x05\x00\x00\x00a.pdf%PDF-1.4", "", "application/zip"},
		"jpeg":          {"\xff\xd8\xff\xe1\x00\x10Exif", ".jpg", "image/jpeg"},
		"jpeg of a pdf": {"\xff\xd8\xff\xfe\x00\x20made of a %PDF-1.4", ".jpg", "image/jpeg"},
		"png":           {"\x89PNG\r\n\x1a\n", ".png", "image/png"},
		"gif 87":        {"GIF87a", ".gif", "image/gif"},
		"gif 89":        {"GIF89a", ".gif", "image/gif"},
		"tiff II":       {"II*\x00", ".tif", "image/tiff"},
		"tiff MM":       {"MM\x00*", ".tif", "image/tiff"},
		"bigtiff II":    {"II+\x00\x08\x00", ".tif", "image/tiff"},
		"bigtiff MM":    {"MM\x00+\x00\x08", ".tif", "image/tiff"},
		"heic":          {"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", ".heic", "image/heic"},
		"heix":          {"\x00\x00\x00\x14ftypheix\x00\x00\x00\x00mif1", ".heic", "image/heic"},
		"mif1 heic":     {"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1heicmiaf", ".heic", "image/heic"},
		"msf1 hevc":     {"\x00\x00\x00\x18ftypmsf1\x00\x00\x00\x00msf1hevc", ".heic", "image/heic"},
		"mif1 alone":    {"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00mif1", ".heic", "image/heic"},
		"avif":          {"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00mif1avifmiaf", "", "image/avif"},
		"mif1 avif":     {"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "", "image/avif"},
		"mp4":           {"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "", "video/mp4"},
		"text":          {"Dear Sir,\n", "", "text/plain"},
		"html":          {"<!DOCTYPE html><html>", "", "text/html"},
		"webp":          {"RIFF\x24\x00\x00\x00WEBPVP8 ", "", "image/webp"},
		"nothing":       {"\x00\x01\x02\x03", "", "application/octet-stream"},
	} {
		if ext, media := sniff([]byte(tt.head)); ext != tt.ext || media != tt.media {
			t.Errorf("%s: sniff = %q, %q, want %q, %q", name, ext, media, tt.ext, tt.media)
		}
	}
}

func TestReject(t *testing.T) {
	const limit = 1 << 20
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		want := map[string]File{ // by name, in the order of names
			"a.pdf": {Reject: "it is empty"},
			"b.pdf": {Reject: "it is text/plain, not a PDF"},
			"c.jpg": {Reject: "it is of an unknown type, not a JPEG"},
			"d.pdf": {Ext: ".jpg"},
			"e.png": {Ext: ".png"},
			"f.tif": {Ext: ".tif"},
			"g.gif": {Ext: ".gif", Reject: "it is too big: 1.0 MiB (1048577 bytes), and at most 1.0 MiB (1048576 bytes)" +
				" can be sent; scan with a lower resolution, or fewer pages at a time"},
			"h.heic": {Ext: ".heic"},
			"i.JPEG": {Ext: ".pdf"},
		}
		write(t, "", dir, "a.pdf")
		write(t, "Dear Sir,\n", dir, "b.pdf")
		write(t, "\x00\x01\x02\x03", dir, "c.jpg")
		write(t, samples[".jpg"], dir, "d.pdf")
		write(t, samples[".png"], dir, "e.png")
		write(t, samples[".tif"]+strings.Repeat(" ", limit-len(samples[".tif"])), dir, "f.tif")
		write(t, samples[".gif"]+strings.Repeat(" ", limit+1-len(samples[".gif"])), dir, "g.gif")
		write(t, samples[".heic"], dir, "h.heic")
		write(t, samples[".pdf"], dir, "i.JPEG")
		cfg := d.config(Folder{Path: dir})
		cfg.MaxSize = limit
		once(t, mustNew(t, cfg))
		d.want(dir, "a.pdf", "b.pdf", "c.jpg", "d.pdf", "e.png", "f.tif", "g.gif", "h.heic", "i.JPEG")
		for _, f := range d.files() {
			name := f.Path[len(dir)+1:]
			if f.Ext != want[name].Ext || f.Reject != want[name].Reject {
				t.Errorf("%s: %q, %q; want %q, %q", name, f.Ext, f.Reject, want[name].Ext, want[name].Reject)
			}
			if f.Content == [32]byte{} {
				t.Errorf("%s: no digest", name)
			}
		}
	})
}

func FuzzSniff(f *testing.F) {
	for _, head := range samples {
		f.Add([]byte(head))
	}
	f.Add([]byte("\xff\xff\xff\xffftypmif1"))
	exts := []string{"", ".pdf", ".jpg", ".png", ".tif", ".heic", ".gif"}
	f.Fuzz(func(t *testing.T, head []byte) {
		ext, media := sniff(head)
		if !slices.Contains(exts, ext) || media == "" || strings.ContainsAny(media, "; \n") {
			t.Errorf("sniff = %q, %q", ext, media)
		}
	})
}
