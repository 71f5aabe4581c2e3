package main

// systems are all that can be measured, in the order of the tables.
func systems() []System {
	return []System{
		stintSystem{},
		naiveSystem{},
		&riverPostgres{},
		&asynqSystem{fsync: "everysec"},
		&asynqSystem{fsync: "always"},
		&backliteSystem{synchronous: "NORMAL"},
		&backliteSystem{synchronous: "FULL"},
	}
}
