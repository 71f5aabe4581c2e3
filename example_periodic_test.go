package stint_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stintq/stint"
)

type Report struct{ Topic string }

func (Report) Kind() string { return "report" }

func ExampleQueue_Periodic() {
	q, clean := temporary(nil)
	defer clean()

	// The job learns which occurrence it is, and how many it makes up for.
	stint.Handle(q, func(_ context.Context, job *stint.Job[Report]) error {
		fmt.Printf("report on %s, %d missed before it\n", job.Args.Topic, job.Missed)
		return nil
	}, nil)

	// Each night at half past two in Berlin, also in the nights in which
	// clocks change. If the program was down at that time, it catches up once.
	err := q.Periodic("sales", "30 2 * * *", Report{"sales"}, stint.InZone("Europe/Berlin"))
	if err != nil {
		fmt.Println(err)
	}

	// Every ten minutes; a run that is still unfinished is not overtaken. Of
	// what was missed, the last day's runs are made up for, one by one.
	err = q.Periodic("stock", "*/10 * * * *", Report{"stock"},
		stint.Missed(stint.All(144, 24*time.Hour)), stint.Overlap(stint.QueueOne))
	if err != nil {
		fmt.Println(err)
	}

	q.RunSchedule(context.Background(), "sales") // now
	work(q)

	schedules, _ := q.Schedules()
	for _, s := range schedules {
		fmt.Printf("%s: %s\n", s.Name, s.Words)
	}
	// Output:
	// report on sales, 0 missed before it
	// sales: every day at 02:30 (Europe/Berlin)
	// stock: every 10 minutes
}

func ExampleQueue_Upcoming() {
	q, clean := temporary(nil)
	defer clean()
	q.Periodic("sales", "30 2 * * *", Report{"sales"}, stint.InZone("Europe/Berlin"),
		stint.Starting(time.Date(2100, 3, 27, 0, 0, 0, 0, time.UTC)))

	// Clocks go forward on the 28th: 02:30 does not exist.
	times, _ := q.Upcoming("sales", 3)
	for _, at := range times {
		fmt.Println(at.Format("Jan 2 15:04 MST"))
	}
	// Output:
	// Mar 27 02:30 CET
	// Mar 28 03:00 CEST
	// Mar 29 02:30 CEST
}

func ExampleQueue_Periodic_mistake() {
	q, clean := temporary(nil)
	defer clean()
	fmt.Println(q.Periodic("sales", "0 25 * * *", Report{"sales"}))
	// Output: stint: bad schedule: the hour field is "25": "25" is out of range; allowed are 0 to 23, as in "3", "9-17" or "*/2" (schedule "sales")
}

func ExampleDescribe() {
	for _, spec := range []string{"*/10 * * * *", "0 0 13 * FRI", "CRON_TZ=Europe/Berlin 0 9 * * MON-FRI"} {
		words, _ := stint.Describe(spec)
		fmt.Println(words)
	}
	_, err := stint.Describe("0 22-2 * * *")
	fmt.Println(err)
	// Output:
	// every 10 minutes
	// on day 13 of the month or on Friday, at 00:00
	// Monday to Friday at 09:00 (Europe/Berlin)
	// stint: bad schedule: the hour field is "22-2": the range 22-2 runs backwards, write "22-23,0-2"; allowed are 0 to 23, as in "3", "9-17" or "*/2"
}
