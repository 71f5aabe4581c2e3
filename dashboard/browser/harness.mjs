// What all tests share: programs that serve a dashboard, a browser, and pages
// that notice what goes wrong on them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

export const mounts = ["/", "/a/b/"];
export const patience = 10_000; // for what must happen, in milliseconds

/** What a suite has opened, to be closed when it ends: pass it to after(). */
export class Things {
  #list = [];
  keep(thing) { this.#list.push(thing); return thing; }
  close = async () => { for (const thing of this.#list.reverse()) await thing.close(); };
}

/** A browser without a network: what leaves this machine fails. */
export async function openBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
}

/** Starts the fixture: jobs in each state that stay as they are. */
export async function startFixture(prefix, ...flags) {
  const [line, close] = await start(program("STINT_FIXTURE"), ["-prefix", prefix, ...flags], (child) => child.stdin.end());
  return new Server(JSON.parse(line), close);
}

/** Starts the demonstration, whose jobs come and go. */
export async function startDemo(prefix, ...flags) {
  const [line, close] = await start(program("STINT_DEMO"), ["-addr", "127.0.0.1:0", "-prefix", prefix, ...flags], (child) => child.kill("SIGTERM"));
  return new Server({ url: line.match(/http:\S+/)[0] }, close);
}

function program(name) {
  assert.ok(process.env[name], `${name} names no program; run.sh builds them`);
  return process.env[name];
}

// start runs a program until it has printed a line. end makes it end.
async function start(path, args, end) {
  const child = spawn(path, args, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout);
  const [line] = await Promise.race([once(lines, "line"), once(child, "exit").then(([code]) => { throw new Error(`${path} ended with ${code}`); })]);
  return [line, async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    end(child);
    await ended;
  }];
}

/** A dashboard that is served. */
export class Server {
  constructor(made, close) {
    Object.assign(this, made);
    this.close = close;
  }
  async api(path) {
    const answer = await fetch(this.url + "api/v1/" + path);
    assert.equal(answer.status, 200, path);
    return answer.json();
  }
  async post(path, body) {
    const answer = await fetch(this.url + "api/v1/" + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const text = await answer.text();
    assert.equal(answer.status, 200, `${path}: ${text}`);
    return JSON.parse(text);
  }
  async enqueue(kind, args, more = {}) {
    return (await this.post("enqueue", { kind, args, ...more })).id;
  }
  /** Enqueues a job and waits until it is in a state. */
  async job(kind, args, state, more = {}) {
    const id = await this.enqueue(kind, args, more);
    await this.untilState(id, state);
    return id;
  }
  async untilState(id, state) {
    return until(`job ${id} is ${state}`, async () => (await this.api("jobs/" + id)).state === state);
  }
  async isGone(path) {
    return (await fetch(this.url + "api/v1/" + path)).status === 404;
  }
}

/** Waits until a condition holds, and answers what it answered. */
export async function until(what, condition, time = patience) {
  for (const end = Date.now() + time; ;) {
    const answer = await condition();
    if (answer) return answer;
    assert.ok(Date.now() < end, "it never happened: " + what);
    await new Promise((next) => setTimeout(next, 20));
  }
}

/**
 * A page that keeps what goes wrong on it: console errors, among them what the
 * policy forbids, uncaught errors, requests that fail, and answers from 400 on
 * whose statuses are not expected.
 */
export class Tab {
  problems = [];
  posts = []; // path below the mount and body of each POST
  expected = new Set();

  static async open(browser, server, options = {}, tab = new Tab()) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
    tab.server = server;
    tab.context = context;
    tab.page = await context.newPage();
    tab.page.setDefaultTimeout(patience);
    tab.#watch();
    return tab;
  }

  #watch() {
    const base = new URL(this.server.url);
    this.page.on("console", (message) => {
      // The browser reports each answer from 400 on as well; those are told apart below.
      if (["error", "warning"].includes(message.type()) && !/Failed to load resource/.test(message.text())) this.problems.push(`console: ${message.text()}`);
    });
    this.page.on("pageerror", (error) => this.problems.push(`script: ${error.message}`));
    this.page.on("requestfailed", (request) => {
      const text = request.failure()?.errorText;
      // Streams and refreshes end with their page, and downloads are no page.
      if (text !== "net::ERR_ABORTED") this.problems.push(`${request.method()} ${request.url()}: ${text}`);
    });
    this.page.on("response", (response) => {
      if (response.status() >= 400 && !this.expected.has(response.status())) this.problems.push(`${response.status()} ${response.request().method()} ${response.url()}`);
    });
    this.page.on("request", (request) => {
      const url = new URL(request.url());
      if (request.method() === "POST") this.posts.push({ path: url.pathname.slice(base.pathname.length - 1), body: new URLSearchParams(request.postData() ?? "") });
      if (url.protocol !== "data:" && url.origin !== base.origin) this.problems.push(`a request that leaves: ${url}`);
    });
  }

  /** Opens a page by its path below the mount, and expects a status. */
  async goto(path, status = 200) {
    this.expected = new Set(status === 200 ? [] : [status]);
    const response = await this.page.goto(this.server.url + path);
    assert.equal(response.status(), status, path);
    return response;
  }

  /** Fails if something has gone wrong since it was last asked. */
  isFine(what) {
    assert.deepEqual(this.problems.splice(0), [], what);
  }

  async close() { await this.context.close(); }
}
