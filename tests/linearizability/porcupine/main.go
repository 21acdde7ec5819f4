// Reads the history of one account as JSON on standard input, and says whether there is an order of its operations,
// each somewhere between its call and its return, in which an account would have answered as the bank did:
// "linearizable", "not linearizable", or "too hard" where that is not found out in time.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

const patience = 60 * time.Second

type history struct {
	Balance    int64       `json:"balance"` // at revision 1
	Operations []operation `json:"operations"`
}

// An operation as a client saw it. Amounts and balances are in smallest units, times in nanoseconds.
type operation struct {
	Kind     string `json:"kind"` // "deposit", "withdraw" or "read"
	Call     int64  `json:"call"`
	Return   int64  `json:"return"`
	Amount   int64  `json:"amount"`
	Request  string `json:"request"`  // the request id, empty without one
	Expected int    `json:"expected"` // expected_revision, 0 without one
	AtLeast  int    `json:"at_least"` // of a read: the revision that its token stands for, 0 without one
	Outcome  string `json:"outcome"`  // "done", "unknown", "insufficient" or "mismatch"
	Revision int    `json:"revision"` // as answered: the account's, or of a mismatch the actual one
	Balance  int64  `json:"balance"`  // as answered
	Replayed bool   `json:"replayed"`
}

// A movement is what one revision of the account came from, and its balance after it.
type movement struct {
	request string
	change  int64
	balance int64
}

// The state is all that happened so far: a movement for each revision.
type state []movement

func (account state) balance() int64 { return account[len(account)-1].balance }

func (account state) find(request string) int {
	if request == "" {
		return -1
	}
	return slices.IndexFunc(account, func(done movement) bool { return done.request == request })
}

// What the answers tell together: which revisions came from operations that were answered, and which from which request;
// the last that anybody saw. An unknown operation can only have made one of those that are left, or the one that a
// repetition of its request told of; if it made none, it is as if it came after all the rest. All this only saves the
// search from trying what cannot be.
type answered struct {
	revisions map[int]bool
	requests  map[string]int
	made      map[int]string
	last      int
}

func told(operations []operation) answered {
	all := answered{map[int]bool{}, map[string]int{}, map[int]string{}, 1}
	for _, op := range operations {
		all.last = max(all.last, op.Revision)
		if op.Kind == "read" || op.Outcome != "done" {
			continue
		}
		if !op.Replayed {
			all.revisions[op.Revision] = true
		}
		if op.Request != "" {
			all.requests[op.Request], all.made[op.Revision] = op.Revision, op.Request
		}
	}
	return all
}

func (all answered) step(before, input, _ any) (bool, any) {
	account, op := before.(state), input.(operation)
	if op.Kind == "read" {
		// It may be late, but not behind its token, and what it tells must have been.
		seen := op.Revision >= max(1, op.AtLeast) && op.Revision <= len(account)
		return seen && account[op.Revision-1].balance == op.Balance, account
	}
	change := op.Amount
	if op.Kind == "withdraw" {
		change = -change
	}
	done := account.find(op.Request)
	fits := op.Expected == 0 || op.Expected == len(account)
	covered := account.balance()+change >= 0
	after := append(slices.Clip(account), movement{op.Request, change, account.balance() + change})
	switch op.Outcome {
	case "done":
		if op.Replayed {
			same := done >= 0 && account[done].change == change
			return same && op.Revision == done+1 && op.Balance == account[done].balance, account
		}
		right := op.Revision == len(after) && op.Balance == after.balance()
		return done < 0 && fits && covered && right, after
	case "insufficient":
		return done < 0 && fits && !covered, account
	case "mismatch":
		return done < 0 && !fits && op.Revision == len(account), account
	case "unknown":
		if len(account) >= all.last {
			return true, account
		}
		revision, repeated := all.requests[op.Request]
		maker, known := all.made[len(after)]
		possible := (!repeated || revision == len(after)) && (!known || maker == op.Request)
		return possible && done < 0 && fits && covered && !all.revisions[len(after)], after
	}
	return false, account
}

func main() {
	var recorded history
	if err := json.NewDecoder(os.Stdin).Decode(&recorded); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	model := porcupine.Model{
		Init:  func() any { return state{{balance: recorded.Balance}} },
		Step:  told(recorded.Operations).step,
		Equal: func(one, other any) bool { return slices.Equal(one.(state), other.(state)) },
	}
	operations := make([]porcupine.Operation, len(recorded.Operations))
	for i, op := range recorded.Operations {
		operations[i] = porcupine.Operation{Input: op, Call: op.Call, Return: op.Return}
		if op.Outcome == "unknown" {
			// It may happen at any time from its call on; after all others is as good as never.
			operations[i].Return = math.MaxInt64
		}
	}
	switch porcupine.CheckOperationsTimeout(model, operations, patience) {
	case porcupine.Ok:
		fmt.Println("linearizable")
	case porcupine.Illegal:
		fmt.Println("not linearizable")
	default:
		fmt.Println("too hard")
	}
}
