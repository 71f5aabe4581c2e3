// What pages do with scripts: ask first, keep what a reader likes, choose rows,
// keys, and keep fresh without getting in the reader's way.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { Tab, Things, openBrowser, startFixture, until } from "./harness.mjs";

const things = new Things();
let browser, server, tab, page;
before(async () => {
  browser = things.keep(await openBrowser());
  server = things.keep(await startFixture("/a/b/"));
});
after(things.close);
beforeEach(async () => {
  tab = await Tab.open(browser, server);
  page = tab.page;
});
afterEach(async () => {
  tab.isFine();
  await tab.close();
});

const tray = "paper/tray:1";
const ready = (more) => server.job("mail/note:v2", { to: "x" }, "ready", { queue: tray, ...more });
const dialog = () => page.locator("#confirm");
const button = (name) => page.getByRole("button", { name, exact: true });
const news = () => page.locator("#changes", { hasText: "There is something new." });

describe("asking first", () => {
  test("no is no", async () => {
    const id = await ready();
    await tab.goto("jobs/" + id);
    for (const refuse of [() => button("Cancel").last().click(), () => page.keyboard.press("Escape")]) {
      await button("Delete").click();
      await dialog().waitFor();
      assert.match(await dialog().innerText(), new RegExp(`Delete job ${id}\\?`));
      await refuse();
      await dialog().waitFor({ state: "hidden" });
      assert.equal(await page.evaluate(() => document.activeElement.textContent), "Delete", "the focus comes back");
    }
    assert.equal(tab.posts.length, 0);
    await server.untilState(id, "ready");
  });

  test("yes is yes, by keys alone", async () => {
    const id = await ready();
    await tab.goto("jobs/" + id);
    await button("Delete").focus();
    await page.keyboard.press("Enter");
    await dialog().waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), "confirm-yes");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/jobs\?note=/);
    assert.ok(await server.isGone("jobs/" + id));
  });

  test("a number is to be typed for many", async () => {
    await tab.goto("queue?name=many");
    const purge = page.getByRole("button", { name: /^Purge/ }), field = page.locator("main").getByLabel(/^Type/);
    await purge.click();
    assert.ok(!await dialog().isVisible(), "the field is empty");
    assert.equal(tab.posts.length, 0);
    tab.expected.add(409);
    await field.fill("7");
    await purge.click();
    await button("Go on").click();
    await page.locator(".problem", { hasText: "nothing was deleted" }).waitFor();
    assert.equal((await server.api("queues/one?queue=many")).ready, 1200);
  });
});

describe("what is kept", () => {
  test("the theme", async () => {
    await tab.goto("jobs");
    const theme = page.locator("#theme"), ground = () => page.evaluate(() => getComputedStyle(document.body.parentElement).backgroundColor);
    const light = await ground();
    await theme.click();
    assert.equal(await theme.innerText(), "Theme: light");
    assert.equal(await ground(), light);
    await theme.click();
    const dark = await ground();
    assert.notEqual(dark, light);
    for (const path of ["jobs", "system"]) {
      await tab.goto(path);
      assert.equal(await theme.innerText(), "Theme: dark");
      assert.equal(await ground(), dark);
    }
    await theme.click();
    assert.equal(await theme.innerText(), "Theme: auto");
    assert.equal(await ground(), light);
  });

  test("how times are told", async () => {
    await tab.goto("jobs/" + server.jobs.dead);
    const time = page.locator('[data-part="timeline"] time').first();
    assert.match(await time.innerText(), / ago$/);
    assert.match(await time.getAttribute("title"), /UTC$/);
    await time.click();
    const exact = await time.innerText();
    assert.match(exact, /20\d\d.*\d:\d\d/);
    await page.reload();
    assert.equal(await time.innerText(), exact);
    await time.click();
    assert.match(await time.innerText(), / ago$/);
    await tab.goto("system");
    assert.match(await page.locator('[data-part="starts"] time').first().innerText(), / ago$/);
  });
});

describe("copying", () => {
  const copied = (page) => page.evaluate(() => navigator.clipboard.readText());

  test("the id and the raw args", async () => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await tab.goto("jobs/" + server.jobs.dead);
    await page.getByRole("button", { name: "Copy the id" }).click();
    await page.getByText("Copied").waitFor();
    assert.equal(await copied(page), String(server.jobs.dead));
    const args = page.locator('[data-part="values"] section').first();
    await args.getByText("Raw").click();
    await args.locator("button.copy").click();
    await args.getByText("Copied").waitFor();
    assert.deepEqual(JSON.parse(await copied(page)), JSON.parse(await args.locator("pre").innerText()));
  });
});

describe("choosing", () => {
  const chosen = () => page.locator('main input[name="ids"]:checked').count();

  test("from one to another with shift, and all", async () => {
    await tab.goto("jobs?state=ready&q=queue:many");
    const boxes = page.locator('main input[name="ids"]');
    await boxes.nth(1).click();
    await boxes.nth(5).click({ modifiers: ["Shift"] });
    assert.equal(await chosen(), 5);
    await page.getByText("5 chosen").waitFor();
    await boxes.nth(3).click();
    assert.equal(await chosen(), 4);
    await boxes.nth(5).click({ modifiers: ["Shift"] });
    assert.equal(await chosen(), 2, "with shift also away");
    const every = page.getByLabel("Choose all on this page");
    assert.ok(await every.evaluate((box) => box.indeterminate));
    await every.check();
    assert.equal(await chosen(), await boxes.count());
    await every.uncheck();
    assert.equal(await chosen(), 0);
  });

  test("by keys", async () => {
    await tab.goto("jobs?state=ready&q=queue:many");
    const links = page.locator("main tbody td.what > a:first-child");
    const focused = () => page.evaluate(() => document.activeElement.getAttribute("href"));
    for (const [key, row] of [["j", 0], ["j", 1], ["j", 2], ["k", 1]]) {
      await page.keyboard.press(key);
      assert.equal(await focused(), await links.nth(row).getAttribute("href"), key);
    }
    await page.keyboard.press("x");
    assert.equal(await chosen(), 1);
    assert.ok(await page.locator('main input[name="ids"]').nth(1).isChecked());
    await page.keyboard.press("x");
    assert.equal(await chosen(), 0);
    await page.keyboard.press("?");
    await page.locator("#changes", { hasText: "Keys:" }).waitFor();
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "search");
    await page.keyboard.type("j/x?"); // letters, as in any field
    assert.equal(await page.locator("#search").inputValue(), "j/x?");
    await page.locator("#search").fill("tag:bulk");
    await page.keyboard.press("Enter");
    await page.waitForURL(/jobs\?q=tag%3Abulk/);
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/jobs\/\d+$/);
  });
});

describe("keeping fresh", () => {
  // open opens a page that would lose a mark if it were loaded again.
  async function open(path) {
    await tab.goto(path);
    await page.evaluate(() => { window.mark = true; });
    await page.locator("#live.live").waitFor();
  }
  const isSamePage = async () => assert.ok(await page.evaluate(() => window.mark), "it was loaded again");
  const first = () => page.locator("main tbody tr").first();
  const comes = (id) => page.locator("main tbody tr", { hasText: String(id) }).waitFor();

  test("a new job appears", async () => {
    await open("jobs?state=ready");
    await comes(await ready());
    await isSamePage();
    assert.ok(!await page.locator("#changes").isVisible());
  });

  test("numbers change on the overview", async () => {
    await open("");
    const tile = page.locator("a.tile", { hasText: "ready" }), before = await tile.innerText();
    await ready();
    await until("the tile changes", async () => await tile.innerText() !== before);
    await isSamePage();
  });

  test("what happens before the stream is open is not missed", async () => {
    let let_go;
    const gate = new Promise((open) => { let_go = open; });
    await page.route("**/live", async (route) => { await gate; await route.continue(); });
    await tab.goto("jobs?state=ready");
    const id = await ready();
    let_go();
    await page.locator("main tbody tr", { hasText: String(id) }).waitFor({ timeout: 8000 }); // without the stream it looks after 10 s
  });

  for (const [what, begin, end] of [
    ["text is marked", () => page.evaluate(() => document.getSelection().selectAllChildren(document.querySelector("h1"))), () => page.evaluate(() => document.getSelection().removeAllRanges())],
    ["a row is chosen", () => page.locator('main input[name="ids"]').first().check(), () => page.locator('main input[name="ids"]').first().uncheck()],
    ["a question is open", async () => { await page.locator('main input[name="ids"]').first().check(); await button("Delete").click(); await dialog().waitFor(); }, async () => { await page.keyboard.press("Escape"); await page.locator('main input[name="ids"]').first().uncheck(); }],
    ["a field has the focus", () => page.locator("main").getByLabel("Filter", { exact: true }).locator("visible=true").last().focus(), () => page.evaluate(() => document.activeElement.blur())],
  ]) {
    test(`not while ${what}`, async () => {
      await open("jobs?state=ready");
      const before = await first().innerText();
      await begin();
      const id = await ready();
      await news().waitFor();
      assert.equal(await first().innerText(), before);
      await end();
      await comes(id); // by itself, as nothing is in its way any more
      await news().waitFor({ state: "hidden" });
      await isSamePage();
    });
  }

  test("at once when the reader wants it", async () => {
    await open("jobs?state=ready");
    await page.locator('main input[name="ids"]').first().check();
    const id = await ready();
    await news().getByRole("button", { name: "Refresh" }).click();
    await comes(id);
    await news().waitFor({ state: "hidden" });
    await isSamePage();
  });

  test("nobody is told of news that are none", async () => {
    await open("schedules");
    await page.evaluate(() => document.getSelection().selectAllChildren(document.querySelector("h1")));
    const looked = page.waitForResponse((response) => response.url().endsWith("/schedules"));
    await ready(); // counts change, but nothing on this page
    await (await looked).finished();
    await page.evaluate(() => new Promise((next) => { setTimeout(next, 50); })); // what the script does with it
    assert.ok(!await news().isVisible());
  });

  test("what is unfolded stays so, and what has the focus keeps it", async () => {
    const id = await server.job("again", { error: "once more" }, "retrying");
    await open("jobs/" + id);
    const attempts = page.locator('[data-part="attempts"] article');
    const log = (n) => attempts.filter({ hasText: "Attempt " + n }).locator("details", { hasText: "Log" });
    const isOpen = (n) => log(n).evaluate((details) => details.open);
    const again = async (n) => {
      await server.post(`jobs/${id}/retry`, {});
      await until(`there are ${n} attempts`, async () => await attempts.count() === n);
      assert.equal(await page.evaluate(() => document.activeElement.textContent), "Log");
    };
    await log(1).locator("summary").click(); // that of the last attempt is open until then
    await again(2);
    assert.deepEqual([await isOpen(1), await isOpen(2)], [false, true]);
    await log(1).locator("summary").click();
    await again(3);
    assert.deepEqual([await isOpen(1), await isOpen(2), await isOpen(3)], [true, true, true]);
    await isSamePage();
  });

  test("a job that is gone is not shown as if it were there", async () => {
    const id = await ready();
    await open("jobs/" + id);
    tab.expected.add(404);
    await server.post(`jobs/${id}/delete`, {});
    await page.locator("#changes", { hasText: "This is not there any more." }).waitFor();
  });

  test("a tab that nobody sees has no stream", async () => {
    await open("jobs?state=ready");
    const hide = (hidden) => page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
    const isStream = (request) => request.url().endsWith("/live");
    const closed = page.waitForEvent("requestfailed", isStream);
    await hide(true);
    await closed;
    await page.locator("#live.paused").waitFor();
    const id = await ready();
    const opened = page.waitForEvent("request", isStream);
    await hide(false);
    await opened;
    await comes(id);
    await page.locator("#live.live").waitFor();
    await isSamePage();
  });
});
