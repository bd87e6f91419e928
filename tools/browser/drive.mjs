// Drives scandrop's page in a real Chromium, over the daemon of the demo:
//
//   node drive.mjs SCANDROP [--shots DIR]
//
// It sees scans move without a reload, opens one, sees picture and text, has a
// rejected one tried again, drops a file in, releases, forgets, ends the session,
// and does the chief of it once more without script. Every page is checked by axe-core.
// With --shots it leaves screenshots there. It ends with status 1 at the first
// thing that is not as it should be.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync, copyFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const [binary, ...rest] = process.argv.slice(2);
if (!binary) { console.error("usage: node drive.mjs SCANDROP [--shots DIR]"); process.exit(2); }
const shots = rest[0] === "--shots" ? resolve(rest[1]) : "";
const browserPath = process.env.CHROMIUM || ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!browserPath) { console.error("no chromium: install it, or name it in CHROMIUM"); process.exit(1); }

const check = (ok, what) => {
  if (!ok) throw new Error("not as it should be: " + what);
  console.log("ok    " + what);
};
const until = async (what, f, seconds = 30) => {
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    const found = await f();
    if (found) return found;
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error("never came: " + what);
};

const temp = mkdtempSync(join(tmpdir(), "scandrop-browser-"));
const faults = [];
const browser = await chromium.launch({ executablePath: browserPath, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
const demo = spawn(resolve(binary), ["demo", "--stay", "--dir", join(temp, "demo")], { stdio: ["ignore", "pipe", "inherit"] });
demo.stdout.resume();
const ended = new Promise((r) => demo.once("exit", r));
try {
  const state = join(temp, "demo", "state"), scans = join(temp, "demo", "scans");
  const file = (name) => () => existsSync(join(state, name)) && readFileSync(join(state, name), "utf8");
  const { url } = JSON.parse(await until("the daemon's address", file("status.address")));
  const token = (await until("the daemon's token", file("status.token"))).trim();
  const api = (path, init = {}) => fetch(url + path, { ...init, headers: { Authorization: "Bearer " + token, ...init.headers } });

  const link = async () => (await (await api("/api/v1/links", { method: "POST" })).json()).url;
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const listen = (p) => {
    p.on("pageerror", (e) => faults.push("script: " + e.message));
    p.on("console", (m) => { if (m.type() === "error") faults.push("console: " + m.text()); });
    p.on("request", (r) => { if (!r.url().startsWith(url) && !/^(data|blob|chrome|chrome-extension):/.test(r.url())) faults.push("asks elsewhere: " + r.url()); });
  };
  listen(page);

  const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const accessible = async (p, what) => {
    await p.evaluate(axe); // as the page's policy lets nobody else bring a script
    const { violations } = await p.evaluate(() => axe.run(document, { iframes: false }));
    const serious = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
    for (const v of violations) console.log(`      axe: ${v.impact}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.target).join("; ")}`);
    check(serious.length === 0, `axe-core finds nothing serious on ${what} (${violations.length} of any kind)`);
  };
  const shoot = async (p, name, fullPage = true) => {
    if (!shots) return;
    mkdirSync(shots, { recursive: true });
    for (const scheme of ["light", "dark"]) for (const width of [390, 1280, 1920]) {
      await p.emulateMedia({ colorScheme: scheme });
      await p.setViewportSize({ width, height: width === 390 ? 844 : width === 1280 ? 900 : 1080 });
      await p.evaluate(() => scrollTo(0, 0));
      await p.waitForTimeout(80);
      await p.screenshot({ path: join(shots, `${name}-${width}-${scheme}.png`), fullPage: fullPage && width === 390 });
    }
    await p.emulateMedia({ colorScheme: "light" });
    await p.setViewportSize({ width: 1280, height: 900 });
  };

  // Who has no session sees nothing.
  await page.goto(url);
  check((await page.textContent("h1")) === "Who are you?", "without a session the page says how to get one");
  check(!(await page.content()).includes("letter"), "and names no scan");

  // Scans move, without a reload.
  await page.goto(await link());
  check(page.url() === url + "/", "a one-time link opens the page");
  await page.evaluate(() => { window.mark = 1; });
  const seen = {};
  await page.exposeFunction("saw", (id, state) => { (seen[id] ??= new Set()).add(state); });
  await page.evaluate(() => {
    const look = () => { for (const r of document.querySelectorAll("#jobs tr")) saw(r.id, r.querySelector(".badge").textContent); };
    new MutationObserver(look).observe(document.getElementById("list"), { subtree: true, childList: true });
    look();
  });
  const allDone = (n) => until(`${n} scans done`, async () => {
    const now = await page.$$eval("#jobs .badge", (all) => all.map((b) => b.textContent));
    return now.length >= n && now.every((state) => state === "done");
  }, 60);
  await allDone(8);
  for (const k of Object.keys(seen)) delete seen[k];
  const fresh = (name) => Buffer.concat([readFileSync(join(scans, name)), randomBytes(8)]); // the same picture, another content
  for (let n = 1; n <= 3; n++) writeFileSync(join(scans, `visit ${n}.gif`), fresh("telegram.gif"));
  await allDone(11);
  check(await page.evaluate(() => window.mark === 1), "three scans that a scanner dropped came and went on to done without a reload");
  check(Object.values(seen).some((s) => s.size >= 2), "one was seen as " + [...Object.values(seen).sort((a, b) => b.size - a.size)[0] ?? []].join(", then "));
  check((await page.textContent("#live")) === "live", "the page says that it is live");
  check(/^[1-9]/.test(await page.locator(".figures li").nth(2).innerText()), "done today is counted");
  await accessible(page, "the list");

  // One scan: picture and text.
  const open = async (name) => {
    await page.goto(url + "/?q=" + encodeURIComponent(name));
    await page.click(`#jobs a:text-is("${name}")`);
    await page.waitForSelector("#job");
  };
  await open("postcard.jpg");
  check(await page.evaluate(() => { const i = document.querySelector(".side img"); return i.complete && i.naturalWidth > 100; }), "the picture of a JPEG is shown");
  check((await page.textContent(".text")).trim().length > 20, "and its text beside it: " + (await page.textContent(".text")).trim().slice(0, 40).replaceAll("\n", " "));
  check((await page.locator(".story li").count()) >= 5, "and its story of " + (await page.locator(".story li").count()) + " lines");
  await accessible(page, "a scan");
  await page.waitForTimeout(300);
  await shoot(page, "scan");
  await open("ledger.tiff");
  await until("the previews of the TIFF", () => page.evaluate(() => {
    const all = [...document.querySelectorAll(".side img")];
    for (const i of all) i.loading = "eager";
    return all.length === 3 && all.every((i) => i.complete && i.naturalWidth > 100);
  }));
  check(true, "the three pages of a TIFF are shown");
  await accessible(page, "a TIFF");
  await open("letter.pdf");
  check((await page.locator("object[type='application/pdf']").count()) === 1, "a PDF has the browser's own view");
  check((await api(new URL(await page.getAttribute("object", "data"), url).pathname)).headers.get("content-type") === "application/pdf", "which gets the PDF");

  // A file that is dropped onto the page.
  await page.goto(url);
  const dropped = join(temp, "dropped <b>&.png");
  copyFileSync(join(scans, "telegram.gif"), join(temp, "x.gif"));
  writeFileSync(dropped, readFileSync(join(scans, "recipe.png")).subarray(0, -12)); // another content: without its end
  const transfer = await page.evaluateHandle(() => {
    const t = new DataTransfer();
    t.items.add(new File([new Blob(["this is no picture"])], "not-a-scan <b>&.png", { type: "image/png" }));
    t.items.add(new File([new Blob(["x"])], "notes.exe"));
    return t;
  });
  await page.selectOption("#into", scans);
  await page.dispatchEvent("body", "dragenter", { dataTransfer: transfer });
  check(await page.evaluate(() => document.body.classList.contains("dragging")), "the page shows that it takes what is dragged over it");
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
  await until("the refusal of what is no scan", async () => (await page.textContent("#took")).includes("notes.exe: \"notes.exe\" has not the name of a scan"));
  check(true, "what is no scan is refused, with the reason");
  await page.setInputFiles("#files", { name: "from the page.gif", mimeType: "image/gif", buffer: Buffer.concat([readFileSync(join(temp, "x.gif")), Buffer.from(";")]) });
  await page.click("#drop button");
  await until("the dropped scan as done", async () => (await page.locator("#jobs tr", { hasText: "from the page.gif" }).locator(".badge").textContent({ timeout: 100 }).catch(() => "")) === "done", 40);
  check(existsSync(join(scans, "from the page.txt")), "a scan that is dropped onto the page comes back as text");

  // One that came to nothing, and is tried again.
  const row = page.locator("#jobs tr", { hasText: "not-a-scan <b>&.png" });
  await until("the rejected scan", async () => (await row.locator(".badge").textContent({ timeout: 100 }).catch(() => "")) === "rejected", 40);
  check((await row.locator("b").count()) === 0, "what a file is called is no markup");
  for (let n = 1; n <= 6; n++) writeFileSync(join(scans, `post ${n}.gif`), fresh("telegram.gif"));
  await until("scans under way", async () => (await page.locator("#jobs .processing").count()) > 1);
  await shoot(page, "list");
  await row.locator("a").click();
  check((await page.locator(".error").count()) === 1, "a rejected scan says why: " + (await page.textContent(".error")));
  await accessible(page, "a rejected scan");
  await page.getByRole("button", { name: "Retry" }).click();
  await page.waitForSelector(".said");
  check((await page.textContent(".said")).includes("tried again"), "Retry says that it is tried again");
  await until("the other try in its story", async () => (await page.textContent(".story")).includes("Another try was asked for"));
  await until("its end", async () => ["rejected", "failed"].includes(await page.locator("h1 .badge").textContent()));
  check(true, "its story tells of the other try and of its end");
  await page.getByRole("button", { name: "Forget" }).click();
  await page.waitForSelector("#jobs");
  check(!(await page.textContent("#jobs")).includes("not-a-scan"), "Forget removes it from the list");

  // Keyboard: the first stop leads past the head of the page.
  await page.keyboard.press("Tab");
  check((await page.evaluate(() => document.activeElement.textContent)) === "To the scans", "the keyboard's first stop skips to the scans");

  // Without script.
  const plain = await browser.newContext({ javaScriptEnabled: false });
  const bare = await plain.newPage();
  listen(bare);
  await bare.goto(await link());
  check((await bare.locator("#jobs tr").count()) >= 11, "without script the list is there");
  await bare.selectOption("#state", "done");
  await bare.fill("#q", "LETTER");
  await bare.click("#filter button");
  check((await bare.locator("#jobs tr").count()) >= 1 && (await bare.locator("#jobs tr").allTextContents()).every((t) => /letter/i.test(t)), "and the filter and the search work");
  await bare.goto(url);
  await bare.setInputFiles("#files", { name: "bare.png", mimeType: "image/png", buffer: Buffer.concat([Buffer.from("bare"), randomBytes(9)]) });
  await bare.click("#drop button");
  check((await bare.textContent(".said")).includes("Dropped"), "and a file can be dropped in by the form");
  check(existsSync(join(scans, "bare.png")), "which puts it into the folder");
  await bare.getByRole("button", { name: "End this session" }).click();
  await bare.goto(url);
  await accessible(page, "the list once more");
  check((await bare.textContent("h1")) === "Who are you?", "and a session that was ended is over");

  // Answers that this asked for: no session, a name that is none, a page that is just forgotten.
  faults.splice(0, faults.length, ...faults.filter((f) => !/40[149]|415/.test(f)));
  check(faults.length === 0, "nothing was asked of another place, and no script failed " + faults.join("; "));
  console.log("the page is as it should be");
} catch (e) {
  console.error(e.message, faults);
  for (const c of browser.contexts()) for (const p of c.pages()) {
    console.error(`${p.url()}\n${(await p.evaluate(() => document.body.innerText).catch(String)).slice(0, 3000)}`);
  }
  process.exitCode = 1;
} finally {
  await browser.close();
  demo.kill("SIGINT");
  await ended;
  rmSync(temp, { recursive: true, force: true });
}
