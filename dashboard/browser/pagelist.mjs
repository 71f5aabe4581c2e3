// The pages of the fixture's dashboard: each template, and each state of one
// that looks different.
export function pages({ jobs, batches }) {
  const state = (name) => [`jobs in state ${name}`, `jobs?state=${name}`];
  return [
    ["overview", ""], ["overview, 24 hours", "?range=24h"], ["overview, 90 days", "?range=90d"],
    ["jobs", "jobs"], ...["ready", "running", "scheduled", "retrying", "completed", "dead"].map(state),
    ["jobs by a filter", "jobs?q=" + encodeURIComponent(`kind:flaky error:"503" -tag:nothing`)],
    ["jobs, none found", "jobs?q=" + encodeURIComponent("kind:nothing")],
    ["jobs, a filter that makes no sense", "jobs?q=" + encodeURIComponent("attempt:>x"), 400],
    ...Object.entries(jobs).map(([name, id]) => [`job, ${name}`, `jobs/${id}`]),
    ["job with its stack", `jobs/${jobs.running}?stack=1`],
    ["enqueue", "enqueue"], ["duplicate and edit", `enqueue?from=${jobs.completed}`],
    ["queues", "queues"], ["queue", "queue?name=default"], ["queue, 24 hours", "queue?name=default&range=24h"], ["queue, paused", "queue?name=" + encodeURIComponent("paper/tray:1")],
    ["kinds", "kinds"], ...["8h", "24h", "72h", "30d"].map((range) => [`kinds, ${range}`, "kinds?range=" + range]), ["kind, 72 hours", "kind?name=flaky&range=72h"],
    ["kind", "kind?name=flaky"], ["kind with a special name", "kind?name=" + encodeURIComponent("mail/note:v2")], ["kind without a handler", "kind?name=foreign"],
    ["schedules", "schedules"],
    ...["night/ly:report", "day-or-weekday", "fails", "of-an-older-version"].map((name) => [`schedule ${name}`, "schedule?name=" + encodeURIComponent(name)]),
    ["batches", "batches"], ...Object.entries(batches).map(([name, id]) => [`batch, ${name}`, `batches/${id}`]),
    ["system", "system"],
    ["no such page", "nothing", 404], ["no such job", "jobs/999999999", 404], ["no such queue", "queue?name=nothing", 404],
    ["no such kind", "kind?name=nothing", 404], ["no such schedule", "schedule?name=nothing", 404], ["no such batch", "batches/999999999", 404], ["no such task", "tasks/NOTHING", 404],
    ["an id that is none", "jobs/x", 400],
  ];
}
