// Every page, at both mounts, with and without scripts: it comes, nothing goes
// wrong on it, its links lead somewhere, and it fits.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Tab, Things, mounts, openBrowser, startFixture } from "./harness.mjs";
import { pages } from "./pagelist.mjs";

const things = new Things();
let browser;
before(async () => { browser = things.keep(await openBrowser()); });
after(things.close);

// widths are those of a screen, of a screen at a zoom of 200 %, of a phone and
// the least that the guidelines for accessibility know.
const widths = [1280, 640, 390, 320];

for (const mount of mounts) {
  describe(`at ${mount}`, async () => {
    let server;
    before(async () => { server = things.keep(await startFixture(mount)); });

    for (const javaScriptEnabled of [true, false]) {
      test(`pages ${javaScriptEnabled ? "with" : "without"} scripts`, async (t) => {
        const links = new Map(); // and where they were seen
        const task = await server.post("system/check", {});
        const tab = things.keep(await Tab.open(browser, server, { javaScriptEnabled }));
        for (const [name, path, status = 200] of [...pages(server), ["task", "tasks/" + task.id]]) {
          await t.test(name, async () => {
            tab.problems.length = 0;
            await tab.goto(path, status);
            await isWhole(tab);
            for (const link of await linksOf(tab)) if (status === 200) links.set(link, name);
            if (mount === "/") await fits(tab); // a width does not depend on the mount
            tab.isFine(name);
          });
        }
        await t.test("links", () => lead(links));
      });
    }
  });
}

// isWhole looks for what each page has.
async function isWhole(tab) {
  const { page } = tab;
  assert.equal(await page.locator("h1").count(), 1, "h1");
  assert.notEqual((await page.locator("h1").innerText()).trim(), "", "h1");
  assert.match(await page.title(), / · Fixture \(test\)$/);
  assert.equal(await page.locator("main").count(), 1, "main");
  assert.equal(await page.locator('nav[aria-label="Sections"] a').count(), 7, "sections");
  const text = await page.locator("body").innerText();
  assert.doesNotMatch(text, /sk_live|"secret"/, "what is redacted");
  assert.doesNotMatch(text, /%!|<no value>|ZgotmplZ|\bNaN\b|0001-01-01/, "what a template has not understood");
  assert.equal(await page.locator("main script, main b:text-is('bold'), main i:text-is('tag')").count(), 0, "markup of users");
}

// linksOf are the links to other pages of the dashboard.
async function linksOf(tab) {
  const all = await tab.page.locator("a[href]").evaluateAll((list) => list.map((a) => ({ href: a.href, download: a.hasAttribute("download") })));
  for (const { href } of all) {
    const url = new URL(href);
    assert.ok(url.href.startsWith(tab.server.url) || url.origin === "https://app.example", `${href} leads out of the dashboard`);
  }
  const here = tab.page.url();
  return all.filter((a) => !a.download && a.href.startsWith(tab.server.url)).map((a) => a.href.replace(/#.*/, "")).filter((href) => href !== here);
}

async function lead(links) {
  assert.ok(links.size > 40, `only ${links.size} links`);
  for (const [link, seen] of [...links].slice(0, 500)) {
    const answer = await fetch(link);
    await answer.arrayBuffer();
    assert.equal(answer.status, 200, `${link}, seen on ${seen}`);
  }
}

// fits looks for a page that scrolls sideways, and for text that is cut off
// when it is twice as large.
async function fits(tab) {
  const { page } = tab;
  const check = async (what) => {
    const wide = await page.evaluate(() => {
      const width = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= width) return [];
      const culprits = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1 && !e.closest(".table,pre,nav.bar,.hidden,.skip"));
      return [document.documentElement.scrollWidth, ...culprits.slice(0, 5).map((e) => `${e.tagName.toLowerCase()}.${e.className} ${e.textContent.slice(0, 40)}`)];
    });
    assert.deepEqual(wide, [], what);
  };
  for (const width of [...widths].reverse()) {
    await page.setViewportSize({ width, height: 800 });
    await check(`${width} px`);
  }
  await page.evaluate(() => { document.documentElement.style.fontSize = "30px"; });
  await check("text of 200 %");
}
