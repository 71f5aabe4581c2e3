package main

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
)

// movedAway is a domain whose addresses no server takes mail for.
const movedAway = "moved-away.example"

// inventOrders yields orders from number 100001 on, the same ones each time.
// One in 12 is not confirmed, one in 100 has an address that is no good.
func inventOrders(n int) iter.Seq[Order] {
	first := []string{"Ana", "Bo", "Chloé", "Dmitri", "Elif", "Fatima", "Götz", "Hana", "Ivo", "Jürgen", "Kofi", "Léa"}
	last := []string{"Adler", "Bauer", "Costa", "Dupont", "Eriksen", "Fischer", "García", "Horák", "Ito", "Jansen"}
	ascii := strings.NewReplacer("é", "e", "ö", "oe", "ü", "ue", "í", "i", "á", "a")
	return func(yield func(Order) bool) {
		random := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			order := Order{
				Number: uint64(100_001 + i),
				Name:   first[random.IntN(len(first))] + " " + last[random.IntN(len(last))],
				Cents:  int64(500 + random.IntN(50_000)),
				Status: "confirmed",
			}
			domain := "mail.example"
			if random.IntN(100) == 0 {
				domain = movedAway
			}
			if random.IntN(12) == 0 {
				order.Status = []string{"open", "cancelled"}[random.IntN(2)]
			}
			name := strings.ReplaceAll(ascii.Replace(strings.ToLower(order.Name)), " ", ".")
			order.Email = fmt.Sprintf("%s.%d@%s", name, order.Number, domain)
			if !yield(order) {
				return
			}
		}
	}
}
