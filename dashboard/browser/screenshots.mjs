// Takes the pictures of the documentation from a demonstration that has been
// running for a while:
//
//	go run ./examples/demo -rate 8 &
//	node dashboard/browser/screenshots.mjs http://127.0.0.1:7878/ docs
import assert from "node:assert/strict";
import { openBrowser } from "./harness.mjs";

const [address, folder] = process.argv.slice(2);
assert.ok(address && folder, "usage: node screenshots.mjs ADDRESS FOLDER");
const base = address.endsWith("/") ? address : address + "/";

const screen = { viewport: { width: 1280, height: 900 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const failed = await anyJob("dead");

const browser = await openBrowser();
for (const [name, path, options] of [
  ["light", "", { ...screen, colorScheme: "light" }],
  ["dark", "", { ...screen, colorScheme: "dark" }],
  ["phone", "", { ...phone, colorScheme: "light" }],
  ["jobs", "jobs?state=retrying", { ...screen, colorScheme: "light" }],
  ["job", `jobs/${failed}`, { ...screen, colorScheme: "light" }],
]) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const response = await page.goto(base + path);
  assert.equal(response.status(), 200, path);
  await page.locator("h1").waitFor();
  if (await page.evaluate(() => "live" in document.documentElement.dataset)) await page.locator("#live.live").waitFor();
  await page.screenshot({ path: `${folder}/dashboard-${name}.png` });
  await context.close();
}
await browser.close();

// anyJob is a job in a state; the demonstration has one after a few minutes.
async function anyJob(state) {
  const answer = await fetch(`${base}api/v1/jobs?limit=1&state=${state}`);
  const { jobs } = await answer.json();
  assert.ok(jobs.length > 0, `no job is ${state} yet; let the demonstration run for longer`);
  return jobs[0].id;
}
