// Every page in the light and in the dark theme, looked at by axe: nothing that
// it calls serious or critical. What it calls best practice is only told.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import axe from "axe-core";
import { Tab, Things, openBrowser, startFixture } from "./harness.mjs";
import { pages } from "./pagelist.mjs";

const things = new Things();
let browser, server;
before(async () => {
  browser = things.keep(await openBrowser());
  server = things.keep(await startFixture("/"));
});
after(things.close);

const standard = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

for (const colorScheme of ["light", "dark"]) {
  describe(`axe, ${colorScheme}`, () => {
    let tab;
    before(async () => { tab = things.keep(await Tab.open(browser, server, { colorScheme })); });

    test("pages", async (t) => {
      for (const [name, path, status] of pages(server)) {
        await t.test(name, async (t) => {
          await tab.goto(path, status);
          await isAccessible(tab, t);
        });
      }
    });
    test("what is folded", async (t) => {
      for (const path of ["jobs?state=ready", `jobs/${server.jobs.panicked}`, `jobs/${server.jobs.ready}`, "schedule?name=fails"]) {
        await tab.goto(path);
        await tab.page.evaluate(() => { for (const details of document.querySelectorAll("details")) details.open = true; });
        await isAccessible(tab, t);
      }
    });
    test("a question", async (t) => {
      await tab.goto(`jobs/${server.jobs.dead}`);
      await tab.page.getByRole("button", { name: "Delete" }).click();
      await tab.page.locator("#confirm").waitFor();
      await isAccessible(tab, t);
    });
    test("on a phone", async (t) => {
      await tab.page.setViewportSize({ width: 390, height: 844 });
      for (const path of ["", "jobs", `jobs/${server.jobs.dead}`, "queues", "schedules", "batches", "kinds", "system"]) {
        await tab.goto(path);
        await isAccessible(tab, t);
      }
    });
  });
}

// The theme that a reader has chosen looks as that of a system does.
test("themes are the same however they are chosen", async () => {
  const looks = {};
  for (const [theme, colorScheme] of [["auto", "light"], ["light", "dark"], ["auto", "dark"], ["dark", "light"]]) {
    const tab = await Tab.open(browser, server, { colorScheme });
    try {
      await tab.context.addInitScript((theme) => localStorage.setItem("stint-theme", theme), theme);
      await tab.goto("jobs");
      looks[`${theme} ${colorScheme}`] = await tab.page.evaluate(() => {
        const all = [document.documentElement, ...document.querySelectorAll("body *")];
        return all.map((e) => { const s = getComputedStyle(e); return [s.color, s.backgroundColor, s.borderTopColor, s.colorScheme === "light dark" ? "" : s.colorScheme].join(); });
      });
    } finally {
      await tab.close();
    }
  }
  const plain = (list) => list.map((look) => look.replace(/,(light|dark)$/, ","));
  assert.deepEqual(plain(looks["light dark"]), plain(looks["auto light"]));
  assert.deepEqual(plain(looks["dark light"]), plain(looks["auto dark"]));
  assert.notDeepEqual(plain(looks["auto light"]), plain(looks["auto dark"]));
});

async function isAccessible(tab, t) {
  await tab.page.evaluate(axe.source); // not through the page, whose policy forbids it
  const violations = await tab.page.evaluate(async (tags) => {
    const { violations } = await window.axe.run(document, { runOnly: tags, resultTypes: ["violations"] });
    return violations.map((v) => ({ id: v.id, impact: v.impact, tags: v.tags, nodes: v.nodes.slice(0, 5).map((n) => n.html + "\n" + n.failureSummary) }));
  }, [...standard, "best-practice"]);
  const isOfStandard = (v) => v.tags.some((tag) => standard.includes(tag));
  for (const v of violations.filter((v) => !isOfStandard(v))) t.diagnostic(`${tab.page.url()}: best practice, ${v.impact}: ${v.id}: ${v.nodes[0]}`);
  const bad = violations.filter((v) => isOfStandard(v) || ["serious", "critical"].includes(v.impact));
  assert.deepEqual(bad.map((v) => `${v.impact} ${v.id}: ${v.nodes.join("\n")}`), [], tab.page.url());
}
