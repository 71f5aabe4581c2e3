// Package dashboard shows a queue and lets people operate it: pages for a
// browser, a JSON API, health checks and metrics, all in one http.Handler that
// needs nothing but the standard library. It works without scripts, and without
// a network.
//
// # Mounting
//
//	mux.Handle("/jobs/", http.StripPrefix("/jobs", dashboard.Handler(q, nil)))
//
// It works under any path, as all its links are relative; take the path away
// with http.StripPrefix. Make one Handler for a queue, and before Close. Streams
// end with Queue.Run, so http.Server.Shutdown should come after that.
//
// # Who may do what
//
// Unless Config.Authorize says who may do what, only requests that come directly
// from this machine, to localhost, are served, and those may do everything.
// Behind a proxy set Authorize, which maps each request to a Role and a name:
//
//	Authorize: func(r *http.Request) dashboard.Access {
//		user, err := session(r) // whatever the application has
//		switch {
//		case err != nil:
//			return dashboard.Access{} // None
//		case user.OnCall:
//			return dashboard.Access{Role: dashboard.Operate, User: user.Mail}
//		}
//		return dashboard.Access{Role: dashboard.View, User: user.Mail}
//	}
//
// View sees everything but secrets. Operate also retries, cancels, kills, moves,
// pauses and resumes, changes workers, runs schedules, and sees the stacks of
// running jobs. Admin also deletes, enqueues, imports, exports, and looks after
// the file. Each action is in the log of the file (Queue.Actions) with the
// name. Nothing is changed by a GET, and no page of another site can send a POST.
//
// # Secrets
//
// Values of keys such as password or api_key are masked wherever they would be
// shown, searched or sent, and so is what looks like them in errors and logs;
// Config.Redact sees the rest. Kinds, queues, tags and schedules are shown as
// they are named, so nothing secret belongs into their names. JSON values of
// more than 1 MiB is not shown.
//
// # API and control socket
//
// The API is below api/v1; api/v1/openapi.json describes it. A POST takes a form
// or a JSON object. Beside the file the Handler makes a socket, see ControlPath,
// which serves the same to the owner of the file: through it the stint command
// reaches the program. Config.NoControlSocket switches it off.
//
// # Health and metrics
//
// healthz says that the program is alive, readyz that the queue does its work;
// both answer everybody, with a word.
//
// metrics is for Prometheus:
//
//	scrape_configs:
//	  - job_name: stint
//	    metrics_path: /jobs/metrics
//	    authorization: {credentials: "…"} # whatever Config.Authorize looks at
//	    static_configs:
//	      - targets: ["app.example.com:8080"]
//
// The scraper needs the role View. Without Config.Authorize it has to run on the
// same machine, and to use the name localhost. Counters count from when the
// process has opened the file. The directory prometheus beside this source has
// rules that are worth an alert, and a board for Grafana.
package dashboard
