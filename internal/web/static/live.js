// The page works without this. With it the page follows what happens, and takes
// files that are dropped onto it.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const body = document.body;

  // What the server renders takes the place of what is there, but for what a
  // person is about to use.
  let later = false; // something is out of date that has the focus
  const replace = (id, html) => {
    const old = document.getElementById(id);
    if (!old || old.innerHTML === html) return;
    if (old.contains(document.activeElement)) { later = true; return; }
    old.innerHTML = html;
  };
  const rowOf = (html) => {
    const t = document.createElement("template");
    t.innerHTML = html;
    return t.content.firstElementChild;
  };
  const fetchText = async (url) => {
    const r = await fetch(url, { headers: { "Accept": "text/html" } });
    if (!r.ok) throw new Error(r.status);
    return r.text();
  };
  const reload = async () => {
    const t = document.createElement("template");
    t.innerHTML = await fetchText(location.href);
    for (const id of ["summary", "folders", "list", "job"]) {
      const fresh = t.content.getElementById(id);
      if (fresh) replace(id, fresh.innerHTML);
    }
  };

  document.addEventListener("focusout", () => setTimeout(() => {
    if (!later) return;
    later = false;
    reload().catch(() => {});
  }));

  const live = $("#live");
  const say = (on, text) => {
    if (!live) return;
    live.dataset.on = on ? "yes" : "no";
    live.textContent = text;
  };
  let source;
  const listen = () => {
    if (source || !body.dataset.events) return;
    source = new EventSource(body.dataset.events);
    source.onopen = () => {
      say(true, "live");
      reload().catch(() => {}); // what happened before it was open
    };
    source.onerror = () => say(false, "not connected; trying again");
    source.onmessage = (m) => {
      const e = JSON.parse(m.data);
      for (const id of ["summary", "folders"]) if (e[id]) replace(id, e[id]);
      if (e.reload) { reload().catch(() => {}); return; }
      const list = $("#jobs");
      for (const [id, html] of Object.entries(e.rows || {}).sort((a, b) => a[0] - b[0])) {
        if (body.dataset.job === id) { reload().catch(() => {}); continue; }
        if (!list) continue;
        const old = document.getElementById("job-" + id);
        if (old) {
          if (old.contains(document.activeElement)) {
            const fresh = rowOf(html); // the link that has the focus stays
            for (const c of [".state", ".note", ".when"]) old.querySelector(c).replaceWith(fresh.querySelector(c));
          } else {
            old.replaceWith(rowOf(html));
          }
          continue;
        }
        if (list.dataset.first === "yes") {
          const row = rowOf(html);
          row.classList.add("fresh");
          const after = [...list.children].find((r) => Number(r.id.slice(4)) < Number(id));
          list.insertBefore(row, after ?? null); // the newest first, in whatever order they are told
          while (list.children.length > list.dataset.most) list.lastElementChild.remove();
          const none = $("#none");
          if (none) none.hidden = true;
          const table = list.closest(".card");
          if (table) table.hidden = false;
        }
      }
    };
  };
  // A browser has few connections to a server: a page that nobody sees needs none.
  const quiet = () => { if (source) { source.close(); source = undefined; } };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) quiet(); else listen();
  });
  addEventListener("pagehide", quiet);
  if (!document.hidden) listen();

  const filter = $("#filter");
  if (filter) for (const s of filter.querySelectorAll("select")) s.addEventListener("change", () => filter.requestSubmit());

  const drop = $("#drop");
  if (drop) {
    const took = $("#took");
    const folder = drop.querySelector("[name=folder]");
    const send = async (files) => {
      took.hidden = false;
      for (const file of files) {
        const line = document.createElement("li");
        line.textContent = file.name + ": sending";
        took.prepend(line);
        try {
          const q = new URLSearchParams({ folder: folder.value, name: file.name });
          const r = await fetch("/api/v1/scans?" + q, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
          const a = await r.json();
          line.textContent = file.name + ": " + (r.ok ? "dropped; it is queued once it has settled" : a.error + (a.hint ? " – " + a.hint : ""));
        } catch (e) {
          line.textContent = file.name + ": scandrop does not answer";
        }
      }
    };
    drop.addEventListener("submit", (e) => {
      const input = drop.querySelector("[type=file]");
      if (!input.files.length) return;
      e.preventDefault();
      send([...input.files]);
      input.value = "";
    });
    let depth = 0;
    const carries = (e) => e.dataTransfer && [...e.dataTransfer.types].includes("Files");
    addEventListener("dragenter", (e) => { if (carries(e)) { depth++; body.classList.add("dragging"); } });
    addEventListener("dragleave", (e) => { if (carries(e) && --depth <= 0) { depth = 0; body.classList.remove("dragging"); } });
    addEventListener("dragover", (e) => { if (carries(e)) e.preventDefault(); });
    addEventListener("drop", (e) => {
      if (!carries(e)) return;
      e.preventDefault();
      depth = 0;
      body.classList.remove("dragging");
      send([...e.dataTransfer.files]);
    });
  }
})();
