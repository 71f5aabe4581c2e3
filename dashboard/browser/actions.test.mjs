// Every action, at both mounts, with and without scripts: done by clicking in
// the pages, seen in the pages and through the API, and found in the log of who
// did what. What the API can do and no test has clicked makes the last test fail.
import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { Tab, Things, mounts, openBrowser, startFixture, until } from "./harness.mjs";

const things = new Things();
let browser;
before(async () => { browser = things.keep(await openBrowser()); });
after(things.close);

// tray is a queue of the fixture that is paused, so jobs in it stay ready.
const tray = "paper/tray:1";
const note = "mail/note:v2";

// noPage are the actions that only programs do.
const noPage = ["/import"];

for (const mount of mounts) {
  for (const javaScriptEnabled of [true, false]) {
    describe(`actions at ${mount} ${javaScriptEnabled ? "with" : "without"} scripts`, () => {
      let server, tab;
      before(async () => {
        server = things.keep(await startFixture(mount, "-many", "20000"));
        tab = things.keep(await Operator.open(browser, server, javaScriptEnabled));
      });
      const area = (name, run) => test(name, async () => {
        await run(tab, server);
        await tab.isLogged();
        tab.isFine(name);
      });
      area("a job", oneJob);
      area("enqueue", enqueue);
      area("chosen jobs", chosenJobs);
      area("all jobs that match", allJobs);
      area("a number to be typed", typed);
      area("a bulk action is stopped", stopped);
      area("failing now", failingNow);
      area("queues", queues);
      area("purge", purge);
      area("schedules", schedules);
      area("batches", batches);
      area("system", system);
      test("no action is left out", () => isComplete(tab, server));
    });
  }
}

/** A tab that clicks, and knows what it has done. */
class Operator extends Tab {
  #done = []; // texts of the log that are still to be seen

  static async open(browser, server, javaScriptEnabled) {
    const tab = Object.assign(new Operator(), { scripts: javaScriptEnabled });
    return Tab.open(browser, server, { javaScriptEnabled }, tab);
  }

  /**
   * Clicks a button of a form, says yes if the script asks, and answers what
   * the next page says was done.
   */
  async act(button, { verb, target }) {
    const asks = this.scripts && await button.evaluate((b) => "confirm" in b.dataset || "confirm" in b.form.dataset);
    const posted = this.page.waitForResponse((response) => response.request().method() === "POST");
    await button.click();
    if (asks) await this.page.locator("#confirm-yes").click();
    const response = await posted;
    assert.equal(response.status(), 303, `${verb} ${target}`);
    const text = await this.page.locator("main p.note[role=status]:not(#changes)").first().innerText();
    assert.ok(text.toLowerCase().includes(verb) && text.includes(target), `"${text}" tells of ${verb} ${target}`);
    await this.isRecorded(verb, target);
    return text;
  }

  /** The log has it, and the page with it will be looked at. */
  async isRecorded(verb, target) {
    const found = await until(`${verb} ${target} is in the log`, async () =>
      (await this.server.api("actions?limit=20")).find((a) => a.by === "local" && a.verb === verb && a.target === target));
    this.#done.push(`${found.verb} ${found.target}`);
  }

  /** Looks at "Who did what". */
  async isLogged() {
    await this.goto("system");
    const rows = await this.page.locator('[data-part="log"] td[data-label="What"]').allInnerTexts();
    for (const done of this.#done.splice(0)) assert.ok(rows.includes(done), `${done} is in: ${rows}`);
  }

  button(name, within = this.page) { return within.getByRole("button", { name, exact: true }); }

  /** Opens what is folded. */
  async unfold(text, within = this.page) { await within.locator("summary", { hasText: text }).click(); }

  /** The card with a heading. */
  card(heading) { return this.page.locator("section", { has: this.page.getByRole("heading", { name: heading, exact: true }) }); }

  row(text, within = this.page) { return within.locator("tbody tr", { hasText: text }); }

  async sees(text) { await this.page.locator("main", { hasText: text }).waitFor(); }

  /** The page shows a state; without scripts it is fetched again. */
  async seesState(state) {
    await until(`the page shows ${state}`, async () => {
      if (await this.page.locator(`.head .state.${state}`).count() > 0) return true;
      if (!this.scripts) await this.page.reload();
      return false;
    });
  }

  /** A task has ended with a text. */
  async seesEnd(text) {
    assert.match(this.page.url(), /\/tasks\//);
    await until("the task has ended", async () => {
      if (await this.page.getByText(/, ended /).count() > 0) return true;
      if (!this.scripts) await this.page.reload();
      return false;
    });
    await this.sees(text);
  }
}

async function oneJob(tab, server) {
  const open = (id) => tab.goto("jobs/" + id);
  const did = (id, verb) => ({ verb, target: `job ${id}` });

  const later = await server.job(note, { to: "later" }, "scheduled", { in: "2h" });
  await open(later);
  await tab.act(tab.button("Run now"), did(later, "retry"));
  await server.untilState(later, "completed");
  await tab.seesState("completed");

  const dead = await server.job("flaky", { error: "no such host" }, "dead");
  await open(dead);
  await tab.act(tab.button("Retry"), did(dead, "retry"));
  await server.untilState(dead, "completed");
  await tab.seesState("completed");

  const running = await server.job("hold", { name: "to be cancelled" }, "running");
  await open(running);
  await tab.act(tab.button("Cancel"), did(running, "cancel"));
  await server.untilState(running, "dead");
  await tab.seesState("dead");

  const ready = await server.job(note, { to: "nobody" }, "ready", { queue: tray });
  await open(ready);
  await tab.unfold("Kill");
  await tab.page.getByLabel("reason").fill("not needed");
  await tab.act(tab.button("Kill"), did(ready, "kill"));
  await tab.seesState("dead");
  await tab.sees("not needed");
  assert.equal((await server.api("jobs/" + ready)).state, "dead");

  const moved = await server.job(note, { to: "elsewhere" }, "ready", { queue: tray });
  await open(moved);
  await tab.unfold("Move to queue");
  await tab.page.getByLabel("queue", { exact: true }).fill("many");
  await tab.act(tab.button("Move to queue"), did(moved, "move"));
  await tab.page.locator(".head a", { hasText: "many" }).waitFor();
  assert.equal((await server.api("jobs/" + moved)).queue, "many");

  await open(moved);
  await tab.act(tab.button("Delete"), did(moved, "delete"));
  assert.match(tab.page.url(), /\/jobs\?note=/);
  assert.ok(await server.isGone("jobs/" + moved));
}

async function enqueue(tab, server) {
  const { page } = tab;
  const isEnqueued = async () => Number(page.url().match(/\/jobs\/(\d+)/)[1]);
  const press = async () => {
    const before = await server.api("jobs?limit=1");
    const id = before.jobs[0].id; // ids grow
    const posted = page.waitForResponse((response) => response.request().method() === "POST");
    await tab.button("Enqueue").click();
    assert.equal((await posted).status(), 303);
    await page.waitForURL(/\/jobs\/\d+/);
    const made = await isEnqueued();
    assert.ok(made > id, "a new job");
    await tab.isRecorded("enqueue", `job ${made}`);
    return server.api("jobs/" + made);
  };
  await tab.goto("jobs");
  await page.getByRole("link", { name: "New job" }).click();
  await page.getByLabel("Kind").fill(note);
  await page.getByLabel("Args, as JSON").fill('{"to": "a <b>reader</b>"}');
  await page.getByLabel("Queue", { exact: true }).fill(tray);
  await page.getByLabel("Tags").fill("by-hand");
  await page.getByLabel("Attempts at most").fill("3");
  const job = await press();
  assert.deepEqual([job.state, job.queue, job.tags, job.max_attempts, job.args], ["ready", tray, ["by-hand"], 3, { to: "a <b>reader</b>" }]);
  await tab.sees("a <b>reader</b>");

  await page.getByRole("link", { name: "Duplicate and edit" }).click();
  const args = page.getByLabel("Args, as JSON");
  assert.deepEqual(JSON.parse(await args.inputValue()), job.args);
  await args.fill('{"to": "another"}');
  const copy = await press();
  assert.deepEqual([copy.args, copy.queue], [{ to: "another" }, tray]);

  await tab.goto("enqueue");
  tab.expected.add(400);
  await page.getByLabel("Kind").fill(note);
  await args.fill("{");
  await tab.button("Enqueue").click();
  await page.locator(".problem[role=alert]").waitFor();
  assert.equal(await args.inputValue(), "{", "what was typed is still there");
}

// chosenJobs are ticked on the page.
async function chosenJobs(tab, server) {
  const { page } = tab;
  const press = async (verb, label, made, then) => {
    const tag = `chosen-${verb}`, ids = [];
    for (let i = 0; i < 3; i++) ids.push(await made(tag));
    await tab.goto("jobs?q=tag:" + tag);
    for (const id of ids.slice(0, 2)) await page.getByLabel(`Choose job ${id}`, { exact: true }).check();
    if (["kill", "move"].includes(verb)) await tab.unfold("More");
    await then.fill?.();
    await tab.act(tab.button(label), { verb, target: "2 jobs" });
    for (const id of ids.slice(0, 2)) await until(`${verb} has happened to ${id}`, () => then.happened(id));
    assert.ok(!await then.happened(ids[2]), `${verb} leaves what is not chosen`);
  };
  const is = (state) => ({ happened: async (id) => (await server.api("jobs/" + id)).state === state });
  const ready = (tag) => server.job(note, {}, "ready", { queue: tray, tags: tag });
  await press("run", "Run now", (tag) => server.job(note, {}, "scheduled", { in: "3h", tags: tag }), is("completed"));
  await press("retry", "Retry", (tag) => server.job("flaky", { error: "x" }, "dead", { tags: tag }), is("completed"));
  await press("cancel", "Cancel", (tag) => server.job("hold", {}, "running", { tags: tag }), is("dead"));
  await press("kill", "Kill", ready, { ...is("dead"), fill: () => page.getByLabel("reason").fill("by hand") });
  await press("move", "Move to queue", ready, { happened: async (id) => (await server.api("jobs/" + id)).queue === "many", fill: () => page.getByLabel("queue", { exact: true }).fill("many") });
  await press("delete", "Delete", ready, { happened: (id) => server.isGone("jobs/" + id) });

  await tab.goto("jobs?state=dead");
  tab.expected.add(400);
  await tab.button("Retry").click();
  await page.locator(".problem").waitFor(); // nothing is chosen
}

async function allJobs(tab, server) {
  for (let i = 0; i < 3; i++) await server.job(note, { to: "all" }, "ready", { queue: tray, tags: "all" });
  await tab.goto("jobs?state=ready&q=tag:all");
  await tab.page.getByLabel("Which jobs").selectOption("all");
  await ask(tab, "Delete");
  await tab.sees("3 jobs match");
  await tab.act(tab.button("Delete"), { verb: "delete", target: "all ready jobs that match tag:all" });
  await tab.seesEnd("3 jobs deleted");
  assert.equal((await server.api("count?q=tag:all")).count, 0);
}

// typed deletes so many that their number is to be typed.
async function typed(tab, server) {
  await tab.goto("jobs?state=ready&q=tag:typed");
  await tab.page.getByLabel("Which jobs").selectOption("all");
  await ask(tab, "Delete");
  const field = tab.page.locator("main").getByLabel(/Type 1.500 to go on/);
  await field.fill("15");
  tab.expected.add(409);
  await press(tab, "Delete");
  await tab.sees("That is not the number. Nothing was done.");
  await field.fill("1500");
  await tab.act(tab.button("Delete"), { verb: "delete", target: "all ready jobs that match tag:typed" });
  await tab.seesEnd("deleted");
  assert.equal((await server.api("count?q=tag:typed")).count, 0);
}

// press presses a button, and says yes if the script asks.
async function press(tab, name) {
  const button = tab.button(name);
  const asks = tab.scripts && await button.evaluate((b) => "confirm" in b.dataset);
  await button.click();
  if (asks) await tab.page.locator("#confirm-yes").click();
}

// ask presses a button after which the server asks once more.
async function ask(tab, name) {
  tab.expected.add(409);
  await press(tab, name);
  await tab.page.getByRole("link", { name: "Back", exact: true }).waitFor();
}

// stopped moves very many jobs to and fro while each commit takes long, and
// stops it half way.
async function stopped(tab, server) {
  const slow = await server.job("slow-disk", {}, "running");
  await tab.goto("jobs?state=ready&q=tag:bulk");
  await tab.page.getByLabel("Which jobs").selectOption("all");
  await tab.unfold("More");
  await tab.page.getByLabel("queue", { exact: true }).fill(tray);
  await ask(tab, "Move to queue");
  await tab.act(tab.button("Move to queue"), { verb: "move", target: "all ready jobs that match tag:bulk" });
  const bar = tab.page.locator('[data-part="task"] progress');
  const seen = async () => Number(await bar.getAttribute("value"));
  await until("the bar moves", async () => {
    if (await seen() > 0) return true;
    if (!tab.scripts) await tab.page.reload();
    return false;
  });
  await tab.act(tab.button("Stop"), { verb: "stop", target: "move of all ready jobs that match tag:bulk" });
  await tab.seesEnd("Stopped: ");
  await server.post(`jobs/${slow}/cancel`, {});
  const there = (await server.api("queues/one?queue=" + encodeURIComponent(tray))).ready;
  const left = (await server.api("queues/one?queue=many")).ready;
  assert.ok(there > 0 && left > 0, `${there} moved, ${left} not`);
}

async function failingNow(tab, server) {
  for (const [label, verb, error] of [["Retry these 2", "retry", "retry me"], ["Delete these 2", "delete", "delete me"]]) {
    const ids = [];
    for (let i = 0; i < 2; i++) ids.push(await server.job("flaky", { error: `${error}: request 0x${i}f3a9c` }, "dead"));
    await tab.goto("");
    const row = tab.row(error, tab.page.locator('[data-part="failing"]'));
    await tab.act(tab.button(label, row), { verb, target: "2 jobs" });
    for (const id of ids) {
      await until(`${verb} ${id}`, async () => verb === "delete" ? server.isGone("jobs/" + id) : (await server.api("jobs/" + id)).state === "completed");
    }
    await until("the row has gone", async () => {
      if (await row.count() === 0) return true;
      if (!tab.scripts) await tab.page.reload();
      return false;
    });
  }
}

async function queues(tab, server) {
  const { page } = tab;
  await server.job(note, {}, "completed", { queue: "letters" });
  const one = () => server.api("queues/one?queue=letters");
  const target = "queue letters";

  await tab.goto("queues");
  await page.getByLabel("Reason to pause letters").fill("no stamps");
  await tab.act(tab.button("Pause letters"), { verb: "pause", target });
  await tab.row("letters").getByText("paused by local (no stamps)").waitFor();
  assert.ok((await one()).paused);
  await tab.act(tab.button("Resume letters"), { verb: "resume", target });
  await tab.row("letters").getByText("open", { exact: true }).waitFor();
  assert.ok(!(await one()).paused);

  await tab.row("letters").getByRole("link", { name: "letters" }).click();
  await tab.act(tab.button("Pause letters"), { verb: "pause", target });
  assert.ok((await one()).paused);
  await page.locator("main").getByText("paused by local").waitFor();
  await tab.act(tab.button("Resume letters"), { verb: "resume", target });
  await page.getByLabel("Workers", { exact: true }).fill("3");
  await tab.act(tab.button("Apply"), { verb: "change workers", target });
  assert.equal((await one()).workers, 3);
  assert.equal(await page.getByLabel("Workers", { exact: true }).inputValue(), "3");

  await tab.goto("queues");
  await page.getByLabel("Workers", { exact: true }).fill("25");
  await tab.act(tab.button("Apply"), { verb: "change workers", target: "all queues" });
  assert.equal((await server.api("stats")).workers, 25);
  assert.equal(await page.getByLabel("Workers", { exact: true }).inputValue(), "25");
}

async function purge(tab, server) {
  const press = async (queue, typed) => {
    await tab.goto("queue?name=" + encodeURIComponent(queue));
    const button = tab.page.getByRole("button", { name: /^Purge/ });
    if (typed) await tab.page.locator("main").getByLabel(/^Type/).fill(String((await server.api("queues/one?queue=" + encodeURIComponent(queue))).ready));
    await tab.act(button, { verb: "purge", target: "queue " + queue });
    await tab.seesEnd("deleted");
    assert.equal((await server.api("queues/one?queue=" + encodeURIComponent(queue))).ready, 0);
  };
  await server.job("foreign", {}, "ready", { queue: "few" });
  await press("few", false);
  await press("many", true);
}

async function schedules(tab, server) {
  const { page } = tab;
  const name = "night/ly:report", target = "schedule " + name;
  const one = () => server.api("schedules/one?schedule=" + encodeURIComponent(name));
  const runs = async () => (await server.api("count?q=" + encodeURIComponent(`schedule:"${name}"`))).count;

  await tab.goto("schedules");
  let before = await runs();
  await tab.act(tab.button("Run now " + name), { verb: "run", target });
  assert.equal(await runs(), before + 1);
  await tab.act(tab.button("Pause " + name), { verb: "pause", target });
  await tab.row(name).getByText("paused", { exact: true }).waitFor();
  assert.ok((await one()).paused);
  await tab.act(tab.button("Resume " + name), { verb: "resume", target });
  assert.ok(!(await one()).paused);

  await page.getByRole("link", { name, exact: true }).click();
  await tab.unfold("Pause with a reason");
  await page.getByLabel("Why").fill("on holiday");
  await tab.act(tab.button("Pause"), { verb: "pause", target });
  await tab.sees("paused");
  await tab.act(tab.button("Resume " + name), { verb: "resume", target });
  before = await runs();
  await tab.unfold("Back-fill");
  await page.getByLabel("From").fill("2026-06-01T00:00");
  await page.getByLabel("to", { exact: true }).fill("2026-06-03T23:00");
  await tab.act(tab.button("Back-fill"), { verb: "back-fill", target });
  await until("three nights are run again, one after the other", async () => await runs() === before + 3);

  await tab.goto("");
  const next = tab.card("Next schedules");
  before = await runs();
  await tab.act(tab.button(`Run now ${name}`, next), { verb: "run", target });
  assert.equal(await runs(), before + 1);

  await tab.goto("schedule?name=to-go");
  await tab.act(tab.button("Delete"), { verb: "delete", target: "schedule to-go" });
  assert.match(page.url(), /\/schedules\?note=/);
  assert.equal(await tab.row("to-go").count(), 0);
  assert.ok(await server.isGone("schedules/one?schedule=to-go"));
}

async function batches(tab, server) {
  const id = server.batches["to cancel"];
  await tab.goto("batches");
  await tab.page.getByRole("link", { name: `to cancel ${id}` }).click();
  await tab.act(tab.button("Cancel batch"), { verb: "cancel", target: `batch ${id}` });
  await tab.sees("cancelled by local");
  assert.equal((await server.api("batches/" + id)).cancelled_by, "local");
  await until("its jobs are dead", async () => (await server.api(`count?state=dead&q=batch:${id}`)).count === 2);
}

async function system(tab, server) {
  const file = "file fixture.db";
  for (const [name, verb, end] of [["Compact", "compact", " became "], ["Check", "check", "No faults"], ["Repair", "repair", "No faults"]]) {
    await tab.goto("system");
    await tab.act(tab.button(name), { verb, target: file });
    await tab.seesEnd(end);
    await tab.goto("system");
    await tab.row(`${name} ${file}`, tab.card("Tasks")).waitFor();
  }
  await tab.page.getByLabel("Workers", { exact: true }).fill("0");
  await tab.act(tab.button("Apply"), { verb: "change workers", target: "all queues" });
  assert.equal((await server.api("stats")).workers, 30);

  const downloading = tab.page.waitForEvent("download");
  await tab.page.getByRole("link", { name: "Download backup" }).click();
  const download = await downloading;
  assert.match(download.suggestedFilename(), /^fixture-\d{8}-\d{6}\.db$/);
  assert.ok((await stat(await download.path())).size > 32768);
  await tab.isRecorded("backup", file);
}

// isComplete compares what was clicked with what there is.
async function isComplete(tab, server) {
  const document = await server.api("openapi.json");
  const known = Object.keys(document.paths).filter((path) => document.paths[path].post);
  assert.ok(known.length > 20, "the API's actions");
  const clicked = new Set(tab.posts.map(({ path }) => path.replace(/^\/(jobs|tasks|batches)\/[^/]+\//, "/$1/{id}/")));
  assert.deepEqual([...known].filter((path) => !noPage.includes(path) && !clicked.has(path)), [], "never clicked");
  const onOne = known.filter((path) => path.startsWith("/jobs/{id}/")).map((path) => path.slice("/jobs/{id}/".length));
  const onMany = new Set(tab.posts.filter(({ path }) => path === "/bulk").map(({ body }) => body.get("verb")));
  assert.deepEqual(onOne.filter((verb) => !onMany.has(verb)), [], "never done to many");
}
