package config

import (
	"reflect"
	"slices"
)

// ProfileName is the name of the file that changes, for the folder in which it lies and for those below it, what becomes of
// the scans there.
const ProfileName = ".scandrop.yaml"

// MaxProfile bounds a profile, in bytes.
const MaxProfile = 64 << 10

// Profile is what such a file may say. Whoever may drop scans may write it: so there is no key by which it could name a place
// to read or write, reveal anything, keep copies at the service, or spend more than the configuration allows.
type Profile struct {
	Action       *string   `yaml:"action"`
	Formats      *[]string `yaml:"formats"`
	ExtractorID  *string   `yaml:"extractor_id"`
	PromptID     *string   `yaml:"prompt_id"`
	Blank        *string   `yaml:"blank"`
	FailureNotes *bool     `yaml:"failure_notes"`
}

// WithProfile returns the folder as the profile data has it, which was read from name. A profile that changes the action
// begins anew: formats and extractor are those that it names itself, or the action's own. Mistakes are [Errors].
func (f Folder) WithProfile(name string, data []byte) (Folder, error) {
	r := newReport(name)
	var p Profile
	decode(data, reflect.ValueOf(&p).Elem(), true, r)
	if len(r.mistakes) > 0 {
		return Folder{}, r.mistakes.sorted()
	}
	f.Formats = slices.Clone(f.Formats)
	if p.Action != nil && *p.Action != f.Action {
		f.Action, f.Formats, f.ExtractorID = *p.Action, nil, ""
	}
	replace(&f.Formats, p.Formats)
	replace(&f.ExtractorID, p.ExtractorID)
	replace(&f.PromptID, p.PromptID)
	replace(&f.Blank, p.Blank)
	replace(&f.FailureNotes, p.FailureNotes)

	k := checker{report: r}
	if k.oneOf("action", f.Action, "transcribe", "tables", "extractor") {
		k.formats("formats", &f)
		k.extractor("extractor_id", &f)
	}
	k.id("extractor_id", f.ExtractorID)
	k.id("prompt_id", f.PromptID)
	k.oneOf("blank", f.Blank, "upload", "skip")
	if len(r.mistakes) > 0 {
		return Folder{}, r.mistakes.sorted()
	}
	return f, nil
}

func replace[T any](value *T, by *T) {
	if by != nil {
		*value = *by
	}
}
