// What pages can do with scripts on top of what they do without: ask before
// something is destroyed, choose many rows, tell times, and keep fresh without
// getting in the reader's way.
const root = document.documentElement, $ = (id) => document.getElementById(id);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const kept = {
  get(name) { try { return localStorage.getItem("stint-" + name); } catch { return null; } },
  set(name, value) { try { localStorage.setItem("stint-" + name, value); } catch { /* not kept, then */ } },
};

root.classList.add("js");

// The theme: that of the system, or one of the two.
const themes = ["auto", "light", "dark"];
function showTheme(theme) {
  if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
  $("theme").textContent = "Theme: " + theme;
}
let theme = themes.includes(kept.get("theme")) ? kept.get("theme") : "auto";
showTheme(theme);
$("theme").hidden = false;
$("theme").onclick = () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  kept.set("theme", theme);
  showTheme(theme);
};

// Times: how long ago, or exactly and in the reader's zone; a click changes all.
let exact = kept.get("times") === "exact";
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
function span(seconds) {
  const two = (a, an, b, bn) => a + " " + an + (b ? " " + b + " " + bn : "");
  const s = Math.floor(seconds);
  if (s < 60) return s + " s";
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor(s % 3600 / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor(s % 86400 / 3600), "h");
}
function tellTimes(from = document) {
  const now = Date.now();
  for (const time of all("time[data-ago]", from)) {
    const at = new Date(time.dateTime), ago = (now - at) / 1000;
    const relative = Math.abs(ago) < 1 ? "now" : ago > 0 ? span(ago) + " ago" : "in " + span(-ago);
    const text = exact ? local.format(at) : relative;
    if (time.textContent !== text) time.textContent = text;
    time.title = (exact ? relative : local.format(at)) + " · " + at.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  }
}
setInterval(tellTimes, 5000);
document.addEventListener("click", (event) => {
  if (!event.target.closest("time[data-ago]") || event.target.closest("a")) return;
  exact = !exact;
  kept.set("times", exact ? "exact" : "relative");
  tellTimes();
});

// Asking first. data-confirm is the question.
let asked = null;
document.addEventListener("submit", (event) => {
  const form = event.target, button = event.submitter;
  const question = button?.dataset.confirm ?? form.dataset.confirm;
  if (!question || asked === form) { asked = null; return; }
  event.preventDefault();
  $("confirm-text").textContent = question;
  $("confirm").onclose = () => {
    if ($("confirm").returnValue !== "yes") { button?.focus(); return; }
    asked = form;
    form.requestSubmit(button);
  };
  $("confirm").returnValue = "";
  $("confirm").showModal();
});

// Choosing rows: all of the page, and from one to another with shift.
let lastBox = null;
const boxes = (form) => all('input[name="ids"]', form);
function countChosen(form) {
  const n = boxes(form).filter((box) => box.checked).length, every = form.querySelector("[data-all]");
  for (const out of all("[data-chosen]", form)) out.textContent = n ? n + " chosen" : "";
  if (every) { every.checked = n > 0 && n === boxes(form).length; every.indeterminate = n > 0 && !every.checked; }
}
document.addEventListener("click", (event) => {
  const box = event.target, form = box.closest?.("form[data-bulk]");
  if (!form) return;
  if (box.matches("[data-all]")) for (const one of boxes(form)) one.checked = box.checked;
  if (box.name === "ids") {
    const list = boxes(form);
    if (event.shiftKey && list.includes(lastBox)) {
      const [from, to] = [list.indexOf(lastBox), list.indexOf(box)].sort((a, b) => a - b);
      for (const one of list.slice(from, to + 1)) one.checked = box.checked;
    }
    lastBox = box;
  }
  countChosen(form);
});

// Copying what stands before a button. Without HTTPS there is only the old way.
root.dataset.script = "";
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy"), text = button?.previousElementSibling;
  if (!button) return;
  try { await navigator.clipboard.writeText(text.textContent); } catch {
    document.getSelection().selectAllChildren(text);
    document.execCommand("copy");
    document.getSelection().removeAllRanges();
  }
  button.textContent = "Copied";
});

// Keys: / to search, j and k to the next and the previous row, x to choose it,
// ? for this list.
const typing = (node) => node.closest?.("input:not([type=checkbox]),textarea,select");
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || $("confirm").open) return;
  const rows = all("main tbody tr").map((tr) => tr.querySelector("a")).filter(Boolean), at = rows.indexOf(document.activeElement.closest("tr")?.querySelector("a"));
  switch (event.key) {
    case "/": event.preventDefault(); $("search").select(); break;
    case "j": rows[Math.min(at + 1, rows.length - 1)]?.focus(); break;
    case "k": rows[Math.max(at - 1, 0)]?.focus(); break;
    case "x": rows[at]?.closest("tr").querySelector('input[name="ids"]')?.click(); break;
    case "?": tell("Keys: / search · j, k next and previous row · Enter open · x choose"); break;
  }
});

function tell(text, action) {
  const line = $("changes");
  line.textContent = text + " ";
  if (action) {
    const button = document.createElement("button");
    button.textContent = "Refresh";
    button.onclick = action;
    line.append(button);
  }
  line.hidden = !text;
}

// Keeping fresh. A reader is not disturbed while something is chosen, marked,
// typed or asked: then the page says that there is something new.
const parts = (from) => all("[data-part]", from);
const busy = () => $("confirm").open || !document.getSelection().isCollapsed || all('main input[name="ids"]:checked').length > 0 ||
  typing(document.activeElement) && document.activeElement.closest("main");
const content = (part) => part.innerHTML.replace(/<time[^]*?<\/time>/g, "").replace(/ open(="")?/g, "");
let fetching = false, waiting = false, told = false, gone = false, pulse = root.dataset.live, lastNews = Date.now(), lastFresh = Date.now();

async function refresh(force) {
  if (gone || told && busy() && !force) return;
  waiting = true;
  if (fetching || document.hidden) return;
  fetching = true;
  waiting = false;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    gone = answer.status === 404;
    if (gone) { tell("This is not there any more."); return; }
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const byName = new Map(parts(fresh).map((part) => [part.dataset.part, part]));
    const changed = parts(document).filter((part) => byName.has(part.dataset.part) && content(part) !== content(byName.get(part.dataset.part)));
    pulse = fresh.documentElement.dataset.live ?? pulse;
    lastFresh = Date.now();
    shown("live");
    if (changed.length && busy() && !force) {
      waiting = told = true;
      tell("There is something new.", () => refresh(true));
      return;
    }
    for (const part of changed) swap(part, byName.get(part.dataset.part));
    if (told) tell("");
    told = false;
  } catch { waiting = true; shown("off"); } finally { fetching = false; }
}

// swap puts a fresh part in the place of another. What is folded stays so, and
// what has the focus keeps it.
function swap(part, other) {
  const folds = (from) => { // counted from below, as what is new is above
    const times = {}, count = (text) => times[text] = (times[text] ?? 0) + 1;
    return all("details>summary", from).reverse().map((s) => [s.textContent + " " + count(s.textContent), s.parentElement]);
  };
  const was = new Map(folds(part).map(([name, details]) => [name, details.open]));
  const nameOf = (e) => [e.tagName, e.name, e.value, e.href, e.ariaLabel, e.textContent].join();
  const held = part.contains(document.activeElement) && nameOf(document.activeElement);
  part.replaceChildren(...other.childNodes);
  for (const [name, details] of folds(part)) if (was.has(name)) details.open = was.get(name);
  if (held) all("a,button,input,summary", part).find((e) => nameOf(e) === held)?.focus({ preventScroll: true });
  tellTimes(part);
}

function shown(state) {
  if (document.hidden) state = "paused";
  $("live").hidden = false;
  $("live").className = "live " + state;
  $("live-text").textContent = { live: "live", paused: "paused", off: "reconnecting; " + span((Date.now() - lastFresh) / 1000) + " old" }[state];
}

if ("live" in root.dataset) {
  let source = null;
  const connect = () => {
    source?.close();
    source = new EventSource(root.dataset.base + "live");
    source.onmessage = (message) => { lastNews = Date.now(); shown("live"); if (message.lastEventId !== pulse) refresh(); };
    source.onopen = () => { lastNews = Date.now(); shown("live"); };
    source.onerror = () => shown("off");
  };
  const hide = () => { source?.close(); source = null; shown("paused"); };
  document.addEventListener("visibilitychange", () => { if (document.hidden) hide(); else { connect(); refresh(); } });
  addEventListener("pagehide", hide);
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  connect();
  // Some things change without a count that changes, and some proxies keep
  // messages back: so look now and then, and more often without a stream.
  setInterval(() => {
    if (document.hidden) return;
    const quiet = (Date.now() - lastNews) / 1000, age = (Date.now() - lastFresh) / 1000;
    if (waiting && !busy() || age > 10 || quiet > 40 && age > 5) refresh();
  }, 1000);
}
tellTimes();
