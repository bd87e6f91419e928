package main

// mutations is the table of what is tried.
var mutations = []mutation{
	// What a folder asks for.
	{
		name: "a limit of pages lets everything pass", guard: "no more is paid for than a day may cost",
		file: "queue/limits.go", old: "return most > 0 && used+way > 0 && used+way+j.rest() > most", new: "return most < 0 && used+way > 0 && used+way+j.rest() > most",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "pages on the wire do not count", guard: "no more is paid for than a day may cost",
		file: "queue/limits.go", old: "t.spending(folder), t.reserved(folder, j.ID)", new: "t.spending(folder), 0",
		pkg: "queue", tests: "^TestLimitOnTheWire$",
	},
	{
		name: "who looks into a new scan hides that a profile has changed", guard: "a scan is made into what its folder asks for",
		file: "internal/daemon/intake.go", old: "if _, known := s.of[path]; !known {", new: "if _, known := s.of[path]; !known || known {",
		pkg: "internal/daemon", tests: "^TestStamps$",
	},
	{
		name: "a scan of which only the copy is left is dropped when its folder asks for other work", guard: "lost",
		file: "queue/add.go", old: "\t\t\t\tcase j.Spooled:\n", new: "\t\t\t\tcase j.Spooled && j.Attempts < 0:\n",
		pkg: "queue", tests: "^TestConfigureKeepsCopies$",
	},
	{
		name: "a profile that cannot be understood is passed over", guard: "a scan is made into what its folder asks for",
		file: "internal/daemon/daemon.go", old: "scans[i].Options, scans[i].Profile = optionsOf(w[i].folder), w[i].hold", new: "scans[i].Options, scans[i].Profile = optionsOf(w[i].folder), nil",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},

	// Nothing is paid twice.
	{
		name: "an upload that was never answered is not looked for", guard: "paid twice",
		file: "uploader/lookup.go", old: "s, err := u.look(ctx, t.Job)\n\tif err != nil {\n\t\treturn u.classify(ctx, opList, t.Job, err)\n\t}\n\tif len",
		new: "s, err := sight{later: true}, error(nil)\n\tif err != nil {\n\t\treturn u.classify(ctx, opList, t.Job, err)\n\t}\n\tif len",
		pkg: "uploader", tests: "^TestArrived$",
	},
	{
		name: "uploading becomes queued at the start", guard: "paid twice after a crash",
		file: "queue/moves.go", old: "j.State, j.Due, j.Looks, j.Doubted = Doubtful, now, 0, now", new: "j.State, j.Due, j.Looks, j.Doubted = Queued, now, 0, now",
		pkg: "queue", tests: "^Test(Moves|Doubt|Cancel|Generations)$",
	},
	{
		name: "an upload is not recorded before its first byte", guard: "paid twice after a crash",
		file: "uploader/upload.go", old: "\t\tBegin: func() error {\n", new: "\t\tBegin: func() error {\n\t\t\tif j.Size > 0 {\n\t\t\t\treturn nil\n\t\t\t}\n",
		pkg: "uploader", tests: "^TestRecordedBeforeTheFirstByte$",
	},
	{
		name: "a 201 without an id counts as not sent", guard: "paid twice",
		file: "uploader/classify.go", old: "if e.Status < 300 || e.Status >= 500 && e.Sent {", new: "if e.Status >= 500 && e.Sent {",
		pkg: "uploader", tests: "^TestAnswers$",
	},
	{
		name: "the closing boundary follows a file that changed", guard: "pays for what is not the scan",
		file: "internal/hwocr/upload.go", old: "case n > 0, err == io.EOF && [sha256.Size]byte(b.hash.Sum(nil)) != b.want:", new: "case n > 0:",
		pkg: "internal/hwocr", tests: "^TestUploadWithheld$",
	},
	{
		name: "the content is no part of the identity", guard: "the same content is sent once",
		file: "queue/job.go", old: "\th := sha256.New()\n\th.Write(content[:])\n", new: "\th := sha256.New()\n",
		pkg: "queue", tests: "^Test(Identity|Twins)$",
	},
	{
		name: "the list is not paged", guard: "an upload is found wherever it is in the list",
		file: "internal/hwocr/list.go", old: "case list.rows == 0, list.last > 0 && n >= list.last:", new: "case list.rows >= 0, list.last > 0 && n >= list.last:",
		pkg: "internal/hwocr", tests: "^TestDocuments$",
	},
	{
		name: "rows that vanish while the list is read are not noticed", guard: "paid twice",
		file: "internal/hwocr/list.go", old: "list.total.value < total.value {", new: "false {",
		pkg: "internal/hwocr", tests: "^TestDocuments$",
	},

	// What only the service still knows.
	{
		name: "a restored queue sends before the list was read", guard: "paid twice after a loss",
		file: "queue/census.go", old: "began.Before(settled) {", new: "false {",
		pkg: "queue", tests: "^TestRebuild$",
	},
	{
		name: "a document that was found is not adopted before its scan is sent", guard: "paid twice",
		file: "queue/claim.go", old: "if j, found = t.adoptStray(j); found {", new: "if false {",
		pkg: "queue", tests: "^TestAdopt$",
	},
	{
		name: "a namesake's documents are taken for ours", guard: "others' documents are not touched",
		file: "queue/job.go", old: " && m[3] == i.check(m[2])", new: "",
		pkg: "queue", tests: "^TestFind$",
	},
	{
		name: "copies that stay on purpose are swept", guard: "what somebody wants stays",
		file: "queue/store.go", old: "\tt.leave(j.documents()...)\n", new: "",
		pkg: "queue", tests: "^TestKeepsCopies$",
	},

	// What the service tells unasked.
	{
		name: "a call of the webhook need not be signed with our secret", guard: "strangers tell nothing",
		file: "internal/webhook/webhook.go", old: "!hmac.Equal(signature, Sign(secret, body.Bytes()))", new: "len(signature) == 0",
		pkg: "internal/webhook", tests: "^Test(Calls|IndependentSender)$",
	},
	{
		name: "a call of the webhook without a signature is read", guard: "strangers cost nothing",
		file: "internal/webhook/webhook.go", old: "if h.config.Secret != nil && !signed {", new: "if h.config.Secret != nil && !signed && r.Host == \"\" {",
		pkg: "internal/webhook", tests: "^TestLongBodies$",
	},
	{
		name: "a replayed hint wakes its job again", guard: "replays do nothing",
		file: "queue/hint.go", old: " && j.Announced.IsZero() && j.HeldBy", new: " && j.HeldBy",
		pkg: "queue", tests: "^TestHint$",
	},
	{
		name: "hints that have ceased are still waited for", guard: "a silent webhook delays no scan for long",
		file: "queue/hint.go", old: "		p.told = false\n", new: "",
		pkg: "queue", tests: "^TestHintsCease$",
	},
	{
		name: "a hint that overtakes the upload's answer is forgotten", guard: "a result is collected at once",
		file: "queue/hint.go", old: "		q.early.add(document)\n", new: "",
		pkg: "queue", tests: "^TestHintOvertakes$",
	},

	// Who asks the daemon, and whom it answers.
	{
		name: "the token is sent to who has the daemon's port", guard: "the token is told to the daemon alone",
		file: "internal/control/client.go", old: "\t\treturn &strangerError{c.url}\n", new: "\t\treturn conn.SetDeadline(time.Time{})\n",
		pkg: "internal/control", tests: "^Test(DialTellsNoStranger|EachConnectionIsProved)$",
	},
	{
		name: "the browser is started with the link", guard: "no secret in the process list",
		file: "internal/cli/open.go", old: "return path, errors.Join(err, f.Close())", new: "return link, errors.Join(err, f.Close())",
		pkg: "internal/cli", tests: "^TestBrowserIsNotToldTheLink$",
	},
	{
		name: "names are written as they are", guard: "no name is markup",
		file: "internal/markup/markup.go", old: "b.WriteString(escape(string(t)))", new: "b.WriteString(string(t))",
		pkg: "internal/web", tests: "^FuzzNamesAreText$",
	},
	{
		name: "values are written as they are", guard: "no name is markup",
		file: "internal/markup/markup.go", old: "`=\"` + escape(a.value) + `\"`", new: "`=\"` + a.value + `\"`",
		pkg: "internal/web", tests: "^FuzzNamesAreText$",
	},
	{
		name: "an address is written as it is", guard: "no name leads elsewhere",
		file: "internal/markup/markup.go", old: "url.PathEscape(name)", new: "name",
		pkg: "internal/markup", tests: "^(TestRender|FuzzText)$",
	},
	{
		name: "the webhook's path is logged", guard: "no secret is logged",
		file: "internal/daemon/webhook.go", old: "if d.Config.Webhook.SecretFile == \"\" {\n\t\td.Log", new: "if d.Config.Webhook.Listen == \"\" {\n\t\td.Log",
		pkg: "internal/daemon", tests: "^TestWebhookPathIsNotLogged$",
	},

	// Who is not looking is told.
	{
		name: "what waits to be told is forgotten at a restart", guard: "no failure in silence",
		file: "internal/notice/notice.go", old: "if json.Unmarshal(text, &n.memory) != nil {", new: "if len(text) >= 0 {",
		pkg: "internal/notice", tests: "^TestNotSent$",
	},
	{
		name: "each failure is a notice of its own", guard: "a thousand failures are one notice",
		file: "internal/notice/notice.go", old: "o.Sent.Add(w.Every), ", new: "o.Sent, ",
		pkg: "internal/notice", tests: "^TestBundled$",
	},
	{
		name: "a chat's URL comes into the log", guard: "no secret is logged",
		file: "internal/notice/send.go", old: "text = strings.ReplaceAll(text, form, \"…\")", new: "_ = form",
		pkg: "internal/notice", tests: "^TestChat$",
	},

	// Nothing is lost.
	{
		name: "the remote copy is deleted before all results are here", guard: "nothing is lost",
		file: "uploader/collect.go", old: "\t\tif err == nil {\n\t\t\tmade++\n\t\t\tcontinue\n\t\t}\n\t\to :=", new: "\t\tif err == nil {\n\t\t\treturn queue.Collected{}\n\t\t}\n\t\to :=",
		pkg: "uploader", tests: "^TestTrouble$",
	},
	{
		name: "a result gets its name before it is synced", guard: "a power cut leaves no empty result",
		file: "internal/atomicfile/atomicfile.go", old: "f.err = supported(fsync(f.file))", new: "f.err = nil",
		pkg: "internal/atomicfile", tests: "^TestSyncs$",
	},
	{
		name: "the folder is not synced", guard: "a power cut takes no name away",
		file: "internal/atomicfile/atomicfile_unix.go", old: "return supported(fsync(d))", new: "return nil",
		pkg: "internal/atomicfile", tests: "^TestSyncs$",
	},
	{
		name: "a result that was edited is overwritten", guard: "nothing of others is lost",
		file: "internal/result/result.go", old: "case slices.Contains(replaces, digest), size == 0 && s.beganAs(name):", new: "case slices.Contains(replaces, digest), size >= 0:",
		pkg: "internal/result", tests: "^TestPublish$",
	},
	{
		name: "a stranger's file is replaced", guard: "nothing of others is lost",
		file: "internal/result/result.go", old: "\tcase len(replaces) == 0:\n\t\treturn strange, nil\n", new: "\tcase len(replaces) == 0:\n\t\treturn ours, nil\n",
		pkg: "internal/result", tests: "^TestPublish$",
	},
	{
		name: "an empty ZIP or a status is a result", guard: "what is written is the result",
		file: "internal/hwocr/download.go", old: "\ts, err := check(ctx, into, n, format)\n", new: "\tvar s summary\n\terr = nil\n",
		pkg: "internal/hwocr", tests: "^TestDownload$",
	},
	{
		name: "what comes again under a TIFF's tag is copied, too", guard: "the parts of a scan show what it shows",
		file: "internal/tiff/tiff.go", old: "if !tags[f.Tag] {", new: "if true {",
		pkg: "internal/tiff", tests: "^TestTagThatComesAgain$",
	},

	// Nothing is left behind, and nothing of others is removed.
	{
		name: "what bears another installation's mark is taken for ours", guard: "nothing of others is deleted",
		file: "uploader/lookup.go", old: "if mark == j.Mark && (!known", new: "if d.Name != \"\" && (!known",
		pkg: "uploader", tests: "^TestOthersDocuments$",
	},
	{
		name: "a delete that is answered with 404 is a failure", guard: "done is reached after a crash",
		file: "uploader/classify.go", old: "\tcase opDelete:\n\t\tif gone(e) {\n", new: "\tcase opDelete:\n\t\tif e.Status == 599 {\n",
		pkg: "uploader", tests: "^TestAnswers$",
	},
	{
		name: "the twin of an upload is kept", guard: "nothing is left behind",
		file: "uploader/lookup.go", old: "\t\t\to.Twins = append(o.Twins, d.ID)\n", new: "\t\t\t_ = d.ID\n",
		pkg: "uploader", tests: "^TestTwinFound$",
	},

	// Holds and waiting.
	{
		name: "a 403 on an upload is tried again", guard: "no attempts are burnt for want of credits",
		file: "uploader/classify.go", old: "case http.StatusPaymentRequired, http.StatusForbidden:", new: "case http.StatusPaymentRequired:",
		pkg: "uploader", tests: "^Test(Answers|NoCredits)$",
	},
	{
		name: "all scans that need fewer credits are tried at once", guard: "no requests are burnt for want of credits",
		file: "queue/claim.go", old: "noCredits && q.uploading > 0", new: "false",
		pkg: "uploader", tests: "^TestNoCredits$",
	},
	{
		name: "what was refused with more pages lets more through", guard: "no requests are burnt for want of credits",
		file: "queue/hold.go", old: "if !old.spares(Job{Size: h.Size, Counted: h.Pages}) {", new: "if h.Size > old.Size {",
		pkg: "queue", tests: "^TestCreditsFindOut$",
	},
	{
		name: "Retry-After is ignored", guard: "the service is left alone when it asks for it",
		file: "internal/hwocr/error.go", old: `		RetryAfter: ParseRetryAfter(resp.Header.Get("Retry-After"), serverTime(resp.Header)),`, new: `		RetryAfter: 0 * ParseRetryAfter(resp.Header.Get("Retry-After"), serverTime(resp.Header)),`,
		pkg: "uploader", tests: "^TestRetryAfter$",
	},
	{
		name: "attempts are counted while held", guard: "a hold costs no job its attempts",
		file: "queue/moves.go", old: "\tcase Held:\n", new: "\tcase Held:\n\t\tj.Attempts++\n",
		pkg: "queue", tests: "^Test(Moves|Attempts)$",
	},

	{
		name: "each refusal is the rate's fault", guard: "work goes on where requests are refused by chance",
		file: "internal/hwocr/chance.go", old: "\t\tif c.refused >= 2 {\n", new: "\t\tif c.refused >= 1000 {\n",
		pkg: "internal/hwocr", tests: "^TestPaceRandom$",
	},
	{
		name: "however much is refused it is by chance", guard: "the service is left alone when it asks for it",
		file: "internal/hwocr/chance.go", old: "return c.odds() > min(", new: "return c.odds() > 1+min(",
		pkg: "internal/hwocr", tests: "^TestPaceRandomAndLimit$",
	},
	{
		name: "a quota is never doubted", guard: "work goes on where requests are refused by chance",
		file: "internal/hwocr/quota.go", old: "\tq.wonder()\n", new: "",
		pkg: "internal/hwocr", tests: "^TestPaceRandom$",
	},
	{
		name: "one refused burst makes all forgotten that went through", guard: "the pace stays near what the service bears",
		file: "internal/hwocr/pace.go", old: "\t\tmeasured = true\n", new: "",
		pkg: "uploader", tests: "^TestPaceTable$",
	},
	{
		name: "who took the turn of one that yielded did not wait", guard: "the pace stays near what the service bears",
		file: "internal/hwocr/pace.go", old: "p.awaited = p.awaited || *limited", new: "p.awaited = *limited",
		pkg: "internal/hwocr", tests: "^TestPaceYieldedWait$",
	},

	// What is hostile.
	{
		name: "redirects are followed", guard: "the token stays home",
		file: "internal/hwocr/client.go", old: "resp, err := c.transport.RoundTrip(req)", new: "resp, err := (&http.Client{Transport: c.transport}).Do(req)",
		pkg: "internal/hwocr", tests: "^Test(RedirectsAreNotFollowed|HostileWire)$",
	},
	{
		name: "the token is in a log line", guard: "the token stays home",
		file: "internal/hwocr/transport.go", old: "\t\tx.transport.log.Debug(\"request\",\n", new: "\t\ttoken, _ := x.transport.token()\n\t\tx.transport.log.Debug(\"request\", \"token\", token,\n",
		pkg: "internal/hwocr", tests: "^TestLog$",
	},
	{
		name: "an echo of the token is repeated", guard: "the token stays home",
		file: "internal/hwocr/error.go", old: `return strings.ReplaceAll(s, token, "[token]")`, new: "return s",
		pkg: "internal/hwocr", tests: "^Test(ErrorMessage|HostileWords)$",
	},
	{
		name: "scans are opened past os.Root", guard: "links lead nowhere",
		file: "internal/result/result.go", old: "\treturn openRegular(f.root, rel)\n", new: "\t_ = rel\n\treturn os.Open(path)\n",
		pkg: "internal/result", tests: "^Test(Links|Root)$",
	},
	{
		name: "a link in the place of a temporary file is followed", guard: "links lead nowhere",
		file: "internal/atomicfile/atomicfile.go", old: "\tname := filepath.Join(dir, temp)\n\terr := patiently(Busy, func() error { return root.Remove(name) })\n", new: "\tname := filepath.Join(dir, temp)\n\tvar err error\n",
		pkg: "internal/atomicfile", tests: "^TestLeftover$",
	},
	{
		name: "a hot folder that became a link is written to", guard: "links lead nowhere",
		file: "internal/daemon/files.go", old: "was != link {", new: "false && was != link {",
		pkg: "internal/daemon", tests: "^TestHostileFiles$",
	},
	{
		name: "a scan that became a link is taken", guard: "links lead nowhere",
		file: "watcher/read.go", old: "if !there.Mode().IsRegular() || !os.SameFile(opened, there) || !same(opened, size, mod) {", new: "if there == nil || !same(opened, size, mod) {",
		pkg: "watcher", tests: "^TestLinkedWhileRead$",
	},
	{
		name: "scans are taken from where a hot folder leads now", guard: "links lead nowhere",
		file: "watcher/folder.go", old: "if link != *f.link {", new: "if link == \"\\x00\" {",
		pkg: "watcher", tests: "^TestRootLinkedElsewhere$",
	},
	{
		name: "ids become part of an address as they are", guard: "no other document, and no other address, is meant",
		file: "internal/hwocr/client.go", old: `"/documents/"+url.PathEscape(id)+suffix`, new: `"/documents/"+id+suffix+strings.Repeat("x", len(url.PathEscape("")))`,
		pkg: "internal/hwocr", tests: "^TestHostileIDs$",
	},
	{
		name: "a ZIP is read without a budget", guard: "memory and time",
		file: "internal/hwocr/download.go", old: "if b.left -= int64(len(p)); b.left < 0 {", new: "if b.left -= int64(len(p)); b.left == 0 {",
		pkg: "internal/hwocr", tests: "^TestHostileZip$",
	},
	{
		name: "a text in JSON may have any length", guard: "memory",
		file: "internal/hwocr/download.go", old: "json.NewDecoder(&tokens{r: r})", new: "json.NewDecoder(r)",
		pkg: "internal/hwocr", tests: "^TestHostileJSON$",
	},
	{
		name: "a page may have any number of rows", guard: "memory",
		file: "internal/hwocr/document.go", old: "r.count > maxRows {", new: "r.count < 0 {",
		pkg: "internal/hwocr", tests: "^TestHostileList$",
	},
	{
		name: "a mark is believed of any number of documents", guard: "memory, and whose documents are deleted",
		file: "uploader/lookup.go", old: "if len(s.marked) > maxMarked {", new: "if len(s.marked) < 0 {",
		pkg: "uploader", tests: "^TestHostileMarks$",
	},
	{
		name: "an answer that changes the protocol is read", guard: "no worker hangs for ever",
		file: "internal/hwocr/transport.go", old: "if resp.StatusCode == http.StatusSwitchingProtocols && resp.Body != nil {", new: "if resp.StatusCode == 1 && resp.Body != nil {",
		pkg: "internal/hwocr", tests: "^TestHostileProtocol$",
	},
	{
		name: "names are printed as they are", guard: "nothing raw reaches a terminal",
		file: "internal/cli/cli.go", old: "\t\tif r == '\\t' || harmless(r) {", new: "\t\tif r >= 0 || harmless(r) {",
		pkg: "internal/cli", tests: "^TestNothingRawIsPrinted$",
	},

	{
		name: "a scan that was copied is replaced by the next of its name", guard: "nothing is lost",
		file: "queue/add.go", old: "t.unsent(old, claimed) && !old.Spooled:", new: "t.unsent(old, claimed):",
		pkg: "queue", tests: "^TestSpooledIsNotReplaced$",
	},
	{
		name: "a folder that others are preferred to waits for ever", guard: "nothing is lost",
		file: "queue/claim.go", old: "n >= mostPassed", new: "n < 0",
		pkg: "queue", tests: "^TestNoFolderStarves$",
	},

	// What the simulation found, each with the test that now guards it.
	{
		name: "results of a scan that was moved away are overwritten by the next of its name", guard: "nothing is lost",
		file: "queue/add.go", old: ` || owner.Moved != "" ||`, new: " ||",
		pkg: "queue", tests: "^TestReserveMoved$",
	},
	{
		name: "a service that wants fewer requests fails scans", guard: "nothing is lost",
		file: "queue/moves.go", old: "if o.Throttled || o.InUse", new: "if o.InUse",
		pkg: "queue", tests: "^TestThrottled$",
	},
	{
		name: "a short Retry-After shortens our own delays", guard: "nothing is lost",
		file: "queue/moves.go", old: "return max(d-spread(j, d/5), min(asked, longestAsked))", new: "if asked > 0 {\n\t\treturn min(asked, longestAsked)\n\t}\n\treturn d - spread(j, d/5)",
		pkg: "queue", tests: "^TestDelays$",
	},
	{
		name: "a hold stays for a job that was cancelled", guard: "what is held is what waits",
		file: "queue/store.go", old: "t.releaseIdle() // it may have been the last that waited", new: "",
		pkg: "queue", tests: "^TestHoldOfNobody$",
	},
	{
		name: "results in a folder that is not mounted are taken for deleted", guard: "nothing is rejected for nothing",
		file: "uploader/upload.go", old: "errors.Is(err, ErrRootMissing) {\n\t\t\t\treturn queue.Retry", new: "errors.Is(err, ErrRootMissing) && j.Size < 0 {\n\t\t\t\treturn queue.Retry",
		pkg: "uploader", tests: "^TestCopyFromMissing$",
	},

	// What the simulation must see without being told where to look.
	{
		name: "simulation: unanswered uploads are not looked for", guard: "P3",
		file: "uploader/lookup.go", old: "s, err := u.look(ctx, t.Job)\n\tif err != nil {\n\t\treturn u.classify(ctx, opList, t.Job, err)\n\t}\n\tif len",
		new: "s, err := sight{later: true}, error(nil)\n\tif err != nil {\n\t\treturn u.classify(ctx, opList, t.Job, err)\n\t}\n\tif len",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "simulation: the same content is sent under every name", guard: "P3",
		file: "queue/add.go", old: "\tfirst, found := t.firstOf(j)\n\tswitch {", new: "\tfirst, found := t.firstOf(j)\n\tif j.Size > 0 {\n\t\treturn j\n\t}\n\tswitch {",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "simulation: the remote copy goes before all results are here", guard: "P2",
		file: "uploader/collect.go", old: "\t\tif err == nil {\n\t\t\tmade++\n\t\t\tcontinue\n\t\t}\n\t\to :=", new: "\t\tif err == nil {\n\t\t\treturn queue.Collected{}\n\t\t}\n\t\to :=",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "simulation: nothing is deleted", guard: "P6",
		file: "uploader/collect.go", old: "\tif o := u.remove(ctx, j, done.Documents); o != nil {\n\t\treturn o\n\t}\n\tfor _, mark", new: "\tfor _, mark",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "simulation: what a person wrote is overwritten", guard: "P5",
		file: "internal/result/result.go", old: "case slices.Contains(replaces, digest), size == 0 && s.beganAs(name):", new: "case slices.Contains(replaces, digest), size >= 0:",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "simulation: some files are not noticed", guard: "P1",
		file: "watcher/folder.go", old: "\tif old, err := f.old(path, info); old || err != nil {\n\t\treturn err\n\t}\n\t// On Windows", new: "\tif old, err := f.old(path, info); old || err != nil || info.Size() == 521 {\n\t\treturn err\n\t}\n\t// On Windows",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "simulation: a worker waits for a document", guard: "P7",
		file: "uploader/collect.go", old: "\tcase errors.Is(err, hwocr.ErrPending):\n\t\tif j", new: "\tcase errors.Is(err, hwocr.ErrPending):\n\t\ttime.Sleep(10 * time.Minute)\n\t\tif j",
		pkg: "internal/daemon", tests: "^TestSimulationDelays$",
	},
	{
		name: "simulation: parts of scans that are not sent any more stay", guard: "nothing is left behind",
		file: "internal/daemon/daemon.go", old: "if (j.Spooled || j.Size > d.Largest) && d.over(j) {", new: "if j.Spooled && d.over(j) {",
		pkg: "internal/daemon", tests: "^TestSimulationForgotten$",
	},
	{
		name: "simulation: copies of scans that were forgotten stay", guard: "nothing is left behind",
		file: "internal/daemon/daemon.go", old: "if (j.Spooled || j.Size > d.Largest) && d.over(j) {", new: "if (j.Spooled && j.State != queue.Cancelled || j.Size > d.Largest) && d.over(j) {",
		pkg: "internal/daemon", tests: "^TestSimulationForgotten$",
	},
	{
		name: "simulation: the copy of a scan is not what is sent", guard: "P2",
		file: "internal/daemon/files.go", old: "\tif j.Spooled {\n\t\tscan, err := f.spool.open(j)", new: "\tif j.Spooled && j.Size == 0 {\n\t\tscan, err := f.spool.open(j)",
		pkg: "internal/daemon", tests: "^TestSimulationCopies$",
	},
	{
		name: "simulation: all parts have the mark of the scan", guard: "P3",
		file: "queue/part.go", old: "d.Parts[n].Mark = t.mark(partIdentity(j.Identity, n, p), j.Resend)", new: "_, d.Parts[n].Mark = p, j.Mark",
		pkg: "internal/daemon", tests: "^TestSimulation$",
	},
	{
		name: "simulation: a part's result counts before it is here", guard: "P2",
		file: "internal/daemon/parts.go", old: "\tif errors.Is(err, fs.ErrNotExist) {\n\t\treturn false, nil\n", new: "\tif errors.Is(err, fs.ErrNotExist) {\n\t\treturn true, nil\n",
		pkg: "internal/daemon", tests: "^TestSimulationCopies$",
	},
	{
		name: "simulation: the killed go on", guard: "a kill is one",
		file: "internal/daemon/simulation_crash_test.go", old: "\t\tin.dead = true\n", new: "",
		pkg: "internal/daemon", tests: "^TestSimulationKill$",
	},
	{
		name: "simulation: the killed tidy up", guard: "a kill is one",
		file: "internal/daemon/simulation_crash_test.go", old: "\ts.state = state\n\treturn s.link(tree)", new: "\ts.state = state\n\treturn s.link(filepath.Join(s.dir, \"tree0\"))",
		pkg: "internal/daemon", tests: "^TestSimulationKill$",
	},

	// The journal proves it.
	{
		name: "an end is not told to the journal", guard: "every end has its line",
		file: "queue/store.go", old: "\tt.noteEnd(old, j)\n", new: "",
		pkg: "queue", tests: "^Test(Outbox|Entry)$",
	},
	{
		name: "the journal's numbers begin anew in a restored queue", guard: "a line is never taken for another",
		file: "queue/replay.go", old: "t.fail(box.SetSequence(last))", new: "_ = box",
		pkg: "queue", tests: "^TestReplay",
	},
	{
		name: "what the journal says was paid is not counted", guard: "nothing is paid again after the queue was lost",
		file: "queue/replay.go", old: "t.putJSON(bucketIdentities, j.Identity[:], record)", new: "_ = record",
		pkg: "queue", tests: "^TestReplay",
	},
	{
		name: "a restored queue is not rebuilt from the journal", guard: "nothing is paid again after the queue was lost",
		file: "internal/daemon/restore.go", old: "s.replay(q), q.Close()", new: "q.Close()",
		pkg: "internal/daemon", tests: "^TestRestoreJournal$",
	},
	{
		name: "the hashes of lines are not compared", guard: "an altered line shows",
		file: "internal/journal/verify.go", old: "\tcase l.Prev != v.Head.Hash:", new: "\tcase false:",
		pkg: "internal/journal", tests: "^TestVerify$",
	},
	{
		name: "a torn line of the journal is left", guard: "the journal goes on after a crash",
		file: "internal/journal/journal.go", old: "\t\tif err := f.Truncate(end); err != nil {\n\t\t\treturn err\n\t\t}\n", new: "",
		pkg: "internal/journal", tests: "^TestTorn$",
	},
	{
		name: "who looks opens the queue file for writing", guard: "an older version's queue file is as it was after a look",
		file: "internal/cli/desk.go", old: "\topen := a.look\n", new: "\topen := a.openQueue\n",
		pkg: "internal/cli", tests: "^TestScripts$/^older$",
	},
	{
		name: "folders are tried as who asks", guard: "check finds what the service's account may not do",
		file: "internal/cli/worker.go", old: "\tif !w.asked() {\n", new: "\tif true {\n",
		pkg: "internal/cli", tests: "^TestTryAsAnotherAccount$",
	},
	{
		name: "the clock is not compared", guard: "a clock that is off is said",
		file: "internal/cli/answers.go", old: "if off <= tolerable {", new: "if true {",
		pkg: "internal/cli", tests: "^TestCheckAgainstServices$",
	},
	{
		name: "a reload leaves the workers", guard: "a changed number of workers takes effect",
		file: "internal/daemon/reload.go", old: "\td.uploader.SetWorkers(c.Workers)\n", new: "",
		pkg: "internal/daemon", tests: "^TestReloadPace$", hangs: true, // for want of a second worker
	},
	{
		name: "a folder that answers late gets an old configuration", guard: "what a reload wants holds for it, too",
		file: "internal/daemon/settler.go", old: "if s.wanted == c {", new: "if true {",
		pkg: "internal/daemon", tests: "^TestSettleLate$",
	},
	{
		name: "who waits is not told of another pace", guard: "a changed rate takes effect at once",
		file: "internal/hwocr/pace.go", old: "\tp.known = max(p.bounded(known), p.rate)\n\tp.tell()\n\tp.wake()\n", new: "\tp.known = max(p.bounded(known), p.rate)\n\tp.tell()\n",
		pkg: "internal/hwocr", tests: "^TestPaceLimit$",
	},

	// Folders that look as they did are not listed.
	{
		name: "events that missed something are still trusted", guard: "what they miss in a folder is found within one rescan",
		file: "watcher/listing.go", old: " && f.missed == 0", new: "",
		pkg: "watcher", tests: "^TestOverwrittenWithoutEvents$",
	},
	{
		name: "a folder's time is trusted within a tick of its clock", guard: "what came in that tick is found",
		file: "watcher/listing.go", old: " && before.sure", new: "",
		pkg: "watcher", tests: "^TestListedTooSoonToTell$",
	},
	{
		name: "no scan is whole", guard: "a file that was overwritten, of which no event told, is found",
		file: "watcher/listing.go", old: " && time.Now().Before(f.wholeAt)", new: "",
		pkg: "watcher", tests: "^TestOverwrittenWithoutEvents$",
	},
	{
		name: "what the queue forgot is not looked at", guard: "a file that changed under its upload is noticed anew",
		file: "watcher/listing.go", old: "f.forgotten == f.w.forgotten() && ", new: "",
		pkg: "watcher", tests: "^TestWholeScans$",
	},
	{
		name: "the queue does not say that it forgot", guard: "a file that changed under its upload is noticed anew",
		file: "queue/store.go", old: "\t\tt.forgotten++\n", new: "",
		pkg: "queue", tests: "^TestChanged$",
	},
	{
		name: "a scan that failed is followed by one that is not whole", guard: "what it did not come to is looked at",
		file: "watcher/listing.go", old: "return f.caught && ", new: "return ",
		pkg: "watcher", tests: "^TestKnownFailsAtRest$",
	},
	{
		name: "a share's folders are trusted where events are asked for all the same", guard: "what happens on a share is found within one rescan",
		file: "watcher/listing.go", old: " && !f.silent", new: "",
		pkg: "watcher", tests: "^TestWholeScans$",
	},
	{
		name: "a folder that took a result once is believed for ever", guard: "nothing is paid whose result cannot be written",
		file: "internal/daemon/files.go", old: "return ok && time.Since(at) < triedFor", new: "return ok && !at.IsZero()",
		pkg: "internal/daemon", tests: "^TestTried$",
	},
	{
		name: "a folder that refused a result is still believed", guard: "nothing is paid whose result cannot be written",
		file: "internal/daemon/files.go", old: "\t\tf.tried.forget(filepath.Dir(j.Path))\n", new: "",
		pkg: "internal/daemon", tests: "^TestTried$",
	},

	// Many at once.
	{
		name: "one change that fails takes those that came with it along", guard: "what others report is not lost",
		file: "queue/store.go", old: "\t\tif !together {\n", new: "\t\tif !together && len(changes) == 1 {\n",
		pkg: "queue", tests: "^TestChangesTogether$",
	},
	{
		name: "tasks found for workers that have gone stay claimed", guard: "no scan waits for a restart",
		file: "queue/claim.go", old: "\t\tfor _, task := range tasks[i:] {\n\t\t\tq.unclaim(task)\n", new: "\t\tfor _, task := range tasks[i+1:] {\n\t\t\tq.unclaim(task)\n",
		pkg: "queue", tests: "^TestHandOutToNobody$",
	},
	{
		name: "an upload that is over counts as under way", guard: "while there are no credits one scan at a time finds out",
		file: "queue/claim.go", old: "\t\t\tq.uploading--\n", new: "",
		pkg: "queue", tests: "^TestHandOutToNobody$",
	},
	{
		name: "a small damaged record may unpack to anything", guard: "a damaged file does not fill memory",
		file: "queue/pack.go", old: "len(text) > longestPacked {", new: "len(text) < 0 {",
		pkg: "queue", tests: "^TestPacked$",
	},
	{
		name: "a record that is damaged is believed", guard: "a job that is silently wrong may cost money",
		file: "queue/store.go", old: "case binary.BigEndian.Uint32(record[1:]) != crc32.Checksum(record[5:], castagnoli):", new: "case len(record) == 0:",
		pkg: "queue", tests: "^Test(Damaged|Verify|Record|Peek)",
	},
	{
		name: "a damaged story stops its job", guard: "no job stands still for its story",
		file: "queue/story.go", old: "\tif err != nil {\n\t\ttext, err = json.Marshal([]Event{{", new: "\tif t.fail(err); err != nil {\n\t\ttext, err = json.Marshal([]Event{{",
		pkg: "queue", tests: "^TestStoryDamaged$",
	},
	{
		name: "a task handed to one who is told to stop stays claimed", guard: "no scan waits for a restart",
		file: "queue/claim.go", old: "\t\t\tq.unclaim(task)\n\t\t\tq.wake()\n\t\t\treturn Task{}, err\n", new: "\t\t\tq.wake()\n\t\t\treturn Task{}, err\n",
		pkg: "queue", tests: "^TestClaimToldToStop$",
	},

	// A queue that was lost, clocks, and documents of others.
	{
		name: "doubt is measured by the system's clock", guard: "paid twice where the clock is set",
		file: "queue/store.go", old: "\t\tj.Doubted = t.now.Add(-t.doubts.lasted(j.ID))\n", new: "",
		pkg: "queue", tests: "^TestDoubtIsNoWallClock$",
	},
	{
		name: "a document that another scan has is taken", guard: "each scan gets its own text",
		file: "queue/store.go", old: "\t\to = t.unclaimed(j, u)\n", new: "\t\t_ = u\n",
		pkg: "queue", tests: "^TestClaimed",
	},
	{
		name: "a document that comes back is deleted", guard: "what is paid is collected",
		file: "queue/moves.go", old: "func(d string) bool { return d == o.Document })\n\t\tj.Trash = append", new: "func(string) bool { return false })\n\t\tj.Trash = append",
		pkg: "queue", tests: "^TestDocumentComesBack$",
	},
	{
		name: "a scan is late by the clock alone", guard: "what is paid is collected",
		file: "queue/moves.go", old: " && j.Looks >= fewestLooks:", new: ":",
		pkg: "queue", tests: "^TestProcessingLimit$",
	},
	{
		name: "a snapshot may hold a damaged record", guard: "a queue that is lost can be restored",
		file: "queue/snapshot.go", old: "if _, err := checked(v); err != nil {", new: "if _, err := checked(v); err != nil && len(v) == 0 {",
		pkg: "queue", tests: "^TestSnapshotDamaged$",
	},
	{
		name: "a restored queue ignores what the service has of a folder, too", guard: "paid and lost",
		file: "internal/daemon/existing.go", old: "\tif !d.queue.Rebuilding() {\n", new: "\tif !d.Once || d.Once {\n",
		pkg: "internal/daemon", tests: "^TestRestoreIgnoring$",
	},
	{
		name: "a restored queue decides what to ignore before the list was read", guard: "paid and lost",
		file: "internal/daemon/existing.go", old: "\t\treturn errUnread\n", new: "",
		pkg: "internal/daemon", tests: "^TestRestoreIgnoringUnread$",
	},
	{
		name: "a restored queue has everything sent that lies in an ignored folder", guard: "pays for what is not wanted",
		file: "internal/daemon/existing.go", old: "\t\tif !sent {\n", new: "\t\tif !sent && c.Strays < 0 {\n",
		pkg: "internal/daemon", tests: "^TestRestoreIgnoring",
	},
	{
		name: "a folder that was looked through is in no snapshot before the hour is over", guard: "lost",
		file: "internal/daemon/daemon.go", old: "\tcase d.introduced <- struct{}{}:\n", new: "\tcase make(chan struct{}) <- struct{}{}:\n",
		pkg: "internal/daemon", tests: "^TestRestoreIgnoring$",
	},
	{
		name: "copies that a restored queue does not know are removed", guard: "lost",
		file: "internal/daemon/spool.go", old: "\t\t\terr = errors.Join(err, s.putAway(name))\n", new: "\t\t\terr = errors.Join(err, os.Remove(filepath.Join(s.dir, name)))\n",
		pkg: "internal/daemon", tests: "^TestRestoreKeepsCopies$",
	},
	{
		name: "a file that Ignored declines is not looked at again", guard: "lost",
		file: "watcher/folder.go", old: "\t\t\t\terr = f.look(file.Path, infos[i])\n", new: "\t\t\t\t_ = infos[i]\n",
		pkg: "watcher", tests: "^TestIgnoreDeclined$",
	},
}
