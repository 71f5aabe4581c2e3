// Every page of the demonstration while its jobs come and go: they come, and
// nothing goes wrong on them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Tab, Things, openBrowser, startDemo, until } from "./harness.mjs";

const things = new Things();
let browser;
before(async () => { browser = things.keep(await openBrowser()); });
after(things.close);

for (const [mount, javaScriptEnabled] of [["/", true], ["/a/b/", true], ["/a/b/", false]]) {
  test(`the demonstration at ${mount} ${javaScriptEnabled ? "with" : "without"} scripts`, async (t) => {
    const demo = things.keep(await startDemo(mount, "-rate", "40"));
    const tab = things.keep(await Tab.open(browser, demo, { javaScriptEnabled }));
    for (const path of await pagesOf(demo)) {
      await t.test(path || "overview", async () => {
        tab.problems.length = 0;
        const status = (await tab.page.goto(demo.url + path)).status();
        if (status === 404 && /^jobs\/\d/.test(path)) return; // it is gone by now
        assert.equal(status, 200);
        assert.equal(await tab.page.locator("h1").count(), 1);
        if (javaScriptEnabled && await tab.page.evaluate(() => "live" in document.documentElement.dataset)) await tab.page.locator("#live.live").waitFor();
        tab.isFine(path);
      });
    }
    await t.test("it goes on", async () => {
      await tab.goto("");
      const tiles = tab.page.locator(".tiles"), before = await tiles.innerText();
      await until("the numbers change", async () => {
        if (!javaScriptEnabled) await tab.page.reload();
        return await tiles.innerText() !== before;
      });
      tab.isFine("overview");
    });
    await demo.close();
  });
}

// pagesOf are all pages, once there is something on each.
async function pagesOf(demo) {
  const of = (page, list) => list.map(({ name }) => `${page}?name=${encodeURIComponent(name)}`);
  const states = ["ready", "running", "scheduled", "retrying", "completed"];
  const jobs = [];
  for (const state of states) {
    const found = await until(`a job is ${state}`, async () => (await demo.api(`jobs?limit=1&state=${state}`)).jobs[0]);
    jobs.push(`jobs?state=${state}`, `jobs/${found.id}`);
  }
  await demo.post("schedules/run", { schedule: "nightly-invoices" });
  const [batch] = await until("a batch is under way", async () => {
    const list = await demo.api("batches");
    return list.length > 0 && list;
  });
  return [
    "", "?range=24h", "?range=90d", "jobs", "jobs?state=dead", ...jobs, "enqueue", "queues", ...of("queue", await demo.api("queues")),
    "kinds", "kinds?range=24h", ...of("kind", await demo.api("kinds")), "schedules", ...of("schedule", await demo.api("schedules")),
    "batches", `batches/${batch.id}`, "system",
  ];
}
