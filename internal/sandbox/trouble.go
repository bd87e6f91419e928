package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The operations that a script and [Stats] name.
const (
	opUpload   = "upload"
	opStatus   = "status"
	opDownload = "download"
	opList     = "list"
	opDelete   = "delete"
	opBalance  = "balance"
	opAny      = "any"
)

// A Script says which calls go wrong and how; the package comment has its
// language. The zero Script is no trouble. A Script is immutable: it may serve
// several sandboxes, each of which counts its own calls.
type Script struct {
	seed  uint64
	rules []rule
}

type rule struct {
	op   string
	when selector
	act  action
	hold time.Duration // how long a rule that struck goes on; 0 = this call alone
}

// selector picks calls by their number. Its zero value picks all.
type selector struct {
	from, to int     // the from-th to the to-th call, if from > 0
	every    int     // each every-th, if > 0
	chance   float64 // with this probability, if > 0
}

// action is one thing that goes wrong. Its zero value is nothing.
type action struct {
	verb       string
	code       int           // answer, made
	html       bool          // answer, made
	field      string        // answer, made: the field that a 422 blames
	retryAfter string        // answer, made: seconds, "date" or "absurd"
	count      int           // cut, drop: bytes; -1 = all
	delay      time.Duration // slow, drip, lag, stay; 0 = for ever
	text       string        // fail
}

// verbAnswer is the verb of an action that is written as a bare status code.
const verbAnswer = "answer"

// slot is what an action decides about a call. Actions in different slots
// combine; within one slot there can be only one.
type slot int

const (
	slotAnswer slot = iota
	slotSlow
	slotDrip
	slotDocument
	slotLag
	slotNames
	slots
)

// fault is everything that goes wrong with one call.
type fault [slots]action

type argument int

const (
	noArgument argument = iota
	answerArguments
	countArgument
	countOrAll
	delayArgument
	delayOrEver
	textArgument
)

var (
	everyOp     = []string{opUpload, opStatus, opDownload, opList, opDelete, opBalance, opAny}
	documentOps = []string{opUpload, opStatus, opDownload}
)

// verbs is the vocabulary of actions, beside the bare status code.
var verbs = map[string]struct {
	slot slot
	arg  argument
	ops  []string
}{
	verbAnswer: {slotAnswer, answerArguments, everyOp},
	"made":     {slotAnswer, answerArguments, everyOp},
	"redirect": {slotAnswer, noArgument, everyOp},
	"drop":     {slotAnswer, countOrAll, everyOp},
	"lost":     {slotAnswer, noArgument, everyOp},
	"cut":      {slotAnswer, countArgument, everyOp},
	"short":    {slotAnswer, noArgument, everyOp},
	"long":     {slotAnswer, noArgument, everyOp},
	"garbage":  {slotAnswer, noArgument, everyOp},
	"empty":    {slotAnswer, noArgument, everyOp},
	"slow":     {slotSlow, delayArgument, everyOp},
	"drip":     {slotDrip, delayArgument, everyOp},
	"fail":     {slotDocument, textArgument, documentOps},
	"stay":     {slotDocument, delayOrEver, documentOps},
	"vanish":   {slotDocument, noArgument, append(slices.Clone(documentOps), opDelete)},
	"twin":     {slotDocument, noArgument, []string{opUpload}},
	"lag":      {slotLag, delayArgument, []string{opList}},
	"rename":   {slotNames, noArgument, []string{opList}},
	"nonames":  {slotNames, noArgument, []string{opList}},
}

// ParseScript reads a script of trouble in the language of the package
// comment. It reports the mistakes of all lines at once, each with its line
// number and what would be right.
func ParseScript(text string) (Script, error) {
	var (
		s    Script
		errs []error
	)
	n := 0
	for line := range strings.Lines(text) {
		n++
		if err := s.parse(line); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Script{}, err
	}
	return s, nil
}

// parse adds one line to s.
func (s *Script) parse(line string) error {
	words, err := scanWords(line)
	if err != nil || len(words) == 0 {
		return err
	}
	p := &parser{words: words}
	if p.accept("seed") {
		if s.seed, err = strconv.ParseUint(p.next(), 10, 64); err != nil {
			return errors.New(`a seed is a whole number, as in "seed 42"`)
		}
		return p.end()
	}
	r, err := p.rule()
	if err != nil {
		return err
	}
	s.rules = append(s.rules, r)
	return nil
}

// scanWords splits a line into words, quoted texts (with their quotes) and
// colons, up to a comment.
func scanWords(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			return words, nil
		case line[0] == '"':
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, errors.New(`a text in quotes has no end: close it with "`)
			}
			words, line = append(words, quoted), line[len(quoted):]
		case line[0] == ':':
			words, line = append(words, ":"), line[1:]
		default:
			end := strings.IndexFunc(line, func(r rune) bool {
				return unicode.IsSpace(r) || strings.ContainsRune(`:#"`, r)
			})
			if end < 0 {
				end = len(line)
			}
			words, line = append(words, line[:end]), line[end:]
		}
	}
}

// parser reads the words of one line; past the end it reads "".
type parser struct{ words []string }

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *parser) next() string {
	word := p.peek()
	if len(p.words) > 0 {
		p.words = p.words[1:]
	}
	return word
}

func (p *parser) accept(word string) bool {
	if p.peek() != word {
		return false
	}
	p.next()
	return true
}

func (p *parser) end() error {
	if word := p.peek(); word != "" {
		return fmt.Errorf("nothing may follow here, but there is %q: put it on a line of its own", word)
	}
	return nil
}

func (p *parser) rule() (r rule, err error) {
	if r.op = p.next(); !slices.Contains(everyOp, r.op) {
		return r, fmt.Errorf("unknown call %q: write one of %s", r.op, strings.Join(everyOp, ", "))
	}
	if r.when, err = p.selector(); err != nil {
		return r, err
	}
	if !p.accept(":") {
		return r, fmt.Errorf(`a ":" is missing before %q: write it as in "upload 3: 500"`, p.peek())
	}
	if r.act, err = p.action(r.op); err != nil {
		return r, err
	}
	if p.accept("for") {
		if r.hold, err = p.delay("for"); err != nil {
			return r, err
		}
	}
	return r, p.end()
}

func (p *parser) selector() (w selector, err error) {
	wrong := func(word string) error {
		return fmt.Errorf("%q picks no calls: write 3, 2-5, every 7, p=0.01 or always", word)
	}
	if p.peek() == ":" || p.accept("always") {
		return w, nil
	}
	word := p.next()
	if word == "every" {
		n := p.next()
		if w.every, err = positive(n); err != nil {
			return w, wrong("every " + n)
		}
		return w, nil
	}
	if chance, ok := strings.CutPrefix(word, "p="); ok {
		w.chance, err = strconv.ParseFloat(chance, 64)
		if err != nil || !(w.chance > 0 && w.chance <= 1) {
			return w, fmt.Errorf("%q is no probability: write a number above 0, up to 1, as in p=0.01", word)
		}
		return w, nil
	}
	from, to, ranged := strings.Cut(word, "-")
	if w.from, err = positive(from); err != nil {
		return w, wrong(word)
	}
	if w.to = w.from; ranged {
		if w.to, err = positive(to); err != nil || w.to < w.from {
			return w, wrong(word)
		}
	}
	return w, nil
}

func (p *parser) action(op string) (a action, err error) {
	a.verb = p.next()
	if code, err := strconv.Atoi(a.verb); err == nil {
		a.verb, a.code = verbAnswer, code
	} else if a.verb == verbAnswer {
		a.verb = "" // it is a name for us, not a word of the language
	}
	v, ok := verbs[a.verb]
	if !ok {
		return a, fmt.Errorf("unknown action %q: write a status code or one of %s", a.verb, actionNames())
	}
	if !slices.Contains(v.ops, op) {
		return a, fmt.Errorf("%q does not go with %s: it goes with %s", a.verb, op, strings.Join(v.ops, ", "))
	}
	switch v.arg {
	case answerArguments:
		return p.answer(a)
	case countArgument:
		a.count, err = count(p.next())
		if err != nil {
			return a, fmt.Errorf("%q needs a number of bytes, as in %q", a.verb, a.verb+" 100")
		}
	case countOrAll:
		a.count = -1
		if n, err := count(p.peek()); err == nil {
			a.count = n
			p.next()
		}
	case delayArgument:
		a.delay, err = p.delay(a.verb)
	case delayOrEver:
		if p.peek() != "" && p.peek() != "for" {
			a.delay, err = p.delay(a.verb)
		}
	case textArgument:
		if strings.HasPrefix(p.peek(), `"`) {
			a.text, err = strconv.Unquote(p.next())
		}
	}
	return a, err
}

func (p *parser) answer(a action) (action, error) {
	if a.verb == "made" {
		a.code, _ = strconv.Atoi(p.next()) // 0 is refused below
	}
	if a.code < 200 || a.code > 599 {
		return a, errors.New("a status code from 200 to 599 is missing")
	}
	for {
		switch {
		case p.accept("html"):
			a.html = true
		case p.accept("field"):
			if a.field = p.next(); a.field == "" || a.field == ":" || a.field[0] == '"' {
				return a, errors.New(`"field" needs a name, as in "422 field extractor_id"`)
			}
		case p.accept("retry-after"):
			a.retryAfter = p.next()
			if seconds, err := count(a.retryAfter); err == nil {
				a.retryAfter = strconv.Itoa(seconds)
			} else if a.retryAfter != "date" && a.retryAfter != "absurd" {
				return a, errors.New(`"retry-after" needs a number of seconds, date or absurd`)
			}
		default:
			return a, nil
		}
	}
}

func (p *parser) delay(verb string) (time.Duration, error) {
	d, err := time.ParseDuration(p.next())
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q needs a positive duration, as in %q", verb, verb+" 20s")
	}
	return d, nil
}

// count reads a whole number that is small enough to calculate with.
func count(word string) (int, error) {
	n, err := strconv.ParseUint(word, 10, 30)
	return int(n), err
}

func positive(word string) (int, error) {
	n, err := count(word)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return n, err
}

func actionNames() string {
	var names []string
	for name := range verbs {
		if name != verbAnswer {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// String returns the script in its own language, one rule a line, without
// comments. ParseScript reads it back as the same Script.
func (s Script) String() string {
	var b strings.Builder
	if s.seed != 0 {
		fmt.Fprintf(&b, "seed %d\n", s.seed)
	}
	for _, r := range s.rules {
		b.WriteString(r.op + r.when.String() + ": " + r.act.String())
		if r.hold > 0 {
			b.WriteString(" for " + r.hold.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (w selector) String() string {
	switch {
	case w.every > 0:
		return fmt.Sprintf(" every %d", w.every)
	case w.chance > 0:
		return fmt.Sprintf(" p=%v", w.chance)
	case w.from == 0:
		return ""
	case w.to == w.from:
		return fmt.Sprintf(" %d", w.from)
	}
	return fmt.Sprintf(" %d-%d", w.from, w.to)
}

func (a action) String() string {
	s := a.verb
	switch verbs[a.verb].arg {
	case answerArguments:
		if s = strconv.Itoa(a.code); a.verb == "made" {
			s = "made " + s
		}
		if a.html {
			s += " html"
		}
		if a.field != "" {
			s += " field " + a.field
		}
		if a.retryAfter != "" {
			s += " retry-after " + a.retryAfter
		}
	case countArgument, countOrAll:
		if a.count >= 0 {
			s += " " + strconv.Itoa(a.count)
		}
	case delayArgument, delayOrEver:
		if a.delay > 0 {
			s += " " + a.delay.String()
		}
	case textArgument:
		if a.text != "" {
			s += " " + strconv.Quote(a.text)
		}
	}
	return s
}

// troubles is a script at work: it counts the calls. The caller locks.
type troubles struct {
	rules []activeRule
}

type activeRule struct {
	rule
	seen  int        // calls of its op so far
	until time.Time  // it strikes every call before
	rng   *rand.Rand // its own, so that other ops' calls do not change its luck
}

func (s Script) start() *troubles {
	t := &troubles{}
	for i, r := range s.rules {
		t.rules = append(t.rules, activeRule{rule: r, rng: rand.New(rand.NewPCG(s.seed, uint64(i)))})
	}
	return t
}

// strike counts a call of op and returns what goes wrong with it.
func (t *troubles) strike(op string, now time.Time) (f fault) {
	for i := range t.rules {
		r := &t.rules[i]
		if r.op != op && r.op != opAny {
			continue
		}
		r.seen++
		if r.when.picks(r.seen, r.rng) {
			r.until = now.Add(r.hold)
		} else if !now.Before(r.until) {
			continue
		}
		if at := verbs[r.act.verb].slot; f[at].verb == "" {
			f[at] = r.act
		}
	}
	return f
}

func (w selector) picks(n int, rng *rand.Rand) bool {
	switch {
	case w.every > 0:
		return n%w.every == 0
	case w.chance > 0:
		return rng.Float64() < w.chance
	case w.from > 0:
		return w.from <= n && n <= w.to
	}
	return true
}

// retryHeader returns the Retry-After header that a asks for, or "".
func (a action) retryHeader(now time.Time) string {
	switch a.retryAfter {
	case "date":
		return now.Add(2 * time.Second).UTC().Format(http.TimeFormat)
	case "absurd":
		return "99999999999" // too many seconds for a time.Duration
	}
	return a.retryAfter
}
