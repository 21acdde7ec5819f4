// Reads the history of some accounts as JSON on standard input, and says whether there is an order of their operations,
// each somewhere between its call and its return, in which the accounts would have answered as the bank did:
// "linearizable", "not linearizable", or "too hard" where that is not found out in time.
//
// A transfer is two operations, as the bank promises no more: "send" takes the money out of one account, and "receive"
// brings it to another, later. Between the two the money is on neither, and anybody may read both.
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
	Balances   []int64     `json:"balances"` // of each account at revision 1
	Operations []operation `json:"operations"`
}

// An operation as a client saw it. Amounts and balances are in smallest units, times in nanoseconds.
type operation struct {
	Kind     string `json:"kind"`    // "deposit", "withdraw", "send", "receive" or "read"
	Account  int    `json:"account"` // which of the accounts, from 0
	Other    int    `json:"other"`   // of "receive": the account that sent
	Call     int64  `json:"call"`
	Return   int64  `json:"return"`
	Amount   int64  `json:"amount"`
	Request  string `json:"request"`  // the request id, empty without one
	Expected int    `json:"expected"` // expected_revision, 0 without one
	AtLeast  int    `json:"at_least"` // of a read: the revision that its token stands for, 0 without one
	Outcome  string `json:"outcome"`  // "done", "unknown", "insufficient" or "mismatch"
	Revision int    `json:"revision"` // as answered: the account's, or of a mismatch the actual one
	Balance  int64  `json:"balance"`  // as answered; of "receive" nobody is told
	Replayed bool   `json:"replayed"`
}

// A movement is what one revision of the account came from, and its balance after it.
type movement struct {
	request string
	change  int64
	balance int64
}

// The state is all that happened to an account so far: a movement for each revision.
type state []movement

func (account state) balance() int64 { return account[len(account)-1].balance }

func (account state) find(request string) int {
	if request == "" {
		return -1
	}
	return slices.IndexFunc(account, func(done movement) bool { return done.request == request })
}

// What the answers say together: which revisions came from operations that were answered, and which from which request;
// the last that anybody saw. All this only saves the search from trying what cannot be.
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

// Whether an unknown operation can have made a revision: one that no other operation made, or the one that a repetition
// of its request was answered with.
func (all answered) mayHaveMade(revision int, op operation) bool {
	answered, repeated := all.requests[op.Request]
	maker, known := all.made[revision]
	return !all.revisions[revision] && (!repeated || answered == revision) && (!known || maker == op.Request)
}

// Whether nothing can tell that an unknown operation happened: it made none of the revisions that anybody saw. It is as
// if it never did. The search must not get it: with 30 of them, it would try each selection of the 30 at the end.
func (all answered) leftNoTrace(op operation) bool {
	for revision := 2; op.Outcome == "unknown" && revision <= all.last; revision++ {
		if all.mayHaveMade(revision, op) {
			return false
		}
	}
	return op.Outcome == "unknown"
}

func (all answered) step(before, input, _ any) (bool, any) {
	account, op := before.(state), input.(operation)
	if op.Kind == "read" {
		// It may be late, but not behind its token, and what it tells must have been.
		seen := op.Revision >= max(1, op.AtLeast) && op.Revision <= len(account)
		return seen && account[op.Revision-1].balance == op.Balance, account
	}
	change := op.Amount
	if op.Kind == "withdraw" || op.Kind == "send" {
		change = -change
	}
	arrives := op.Kind == "receive"
	done := account.find(op.Request)
	fits := op.Expected == 0 || op.Expected == len(account)
	covered := account.balance()+change >= 0
	after := append(slices.Clip(account), movement{op.Request, change, account.balance() + change})
	switch op.Outcome {
	case "done":
		if op.Replayed {
			same := done >= 0 && account[done].change == change
			return same && op.Revision == done+1 && (arrives || op.Balance == account[done].balance), account
		}
		right := op.Revision == len(after) && (arrives || op.Balance == after.balance())
		return done < 0 && fits && covered && right, after
	case "insufficient":
		return done < 0 && fits && !covered, account
	case "mismatch":
		return done < 0 && !fits && op.Revision == len(account), account
	case "unknown":
		// If it made none of the revisions, it is as if it came after all the rest.
		if len(account) >= all.last {
			return true, account
		}
		return done < 0 && fits && covered && all.mayHaveMade(len(after), op), after
	}
	return false, account
}

func main() {
	var recorded history
	if err := json.NewDecoder(os.Stdin).Decode(&recorded); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	words := map[porcupine.CheckResult]string{
		porcupine.Ok: "linearizable", porcupine.Illegal: "not linearizable", porcupine.Unknown: "too hard",
	}
	fmt.Println(words[recorded.verdict()])
}

// Linearizability is local: a history is linearizable if that of each account is. What ties two accounts together is
// looked at before.
func (recorded history) verdict() porcupine.CheckResult {
	result := porcupine.Ok
	if !recorded.arrivalsWereSent() {
		return porcupine.Illegal
	}
	for account, balance := range recorded.Balances {
		switch recorded.of(account).check(balance) {
		case porcupine.Illegal:
			return porcupine.Illegal
		case porcupine.Unknown:
			result = porcupine.Unknown
		}
	}
	return result
}

// Nothing arrives that was not sent before, as much, by the account that it says.
func (recorded history) arrivalsWereSent() bool {
	for _, arrived := range recorded.Operations {
		sent := func(op operation) bool {
			before := arrived.Outcome == "unknown" || op.Call < arrived.Return
			same := op.Request == arrived.Request && op.Amount == arrived.Amount
			may := op.Outcome == "done" || op.Outcome == "unknown"
			return op.Kind == "send" && op.Account == arrived.Other && op.Other == arrived.Account && before && same && may
		}
		if arrived.Kind == "receive" && !slices.ContainsFunc(recorded.Operations, sent) {
			return false
		}
	}
	return true
}

type operations []operation

func (recorded history) of(account int) operations {
	return slices.DeleteFunc(slices.Clone(recorded.Operations), func(op operation) bool { return op.Account != account })
}

func (all operations) check(balance int64) porcupine.CheckResult {
	answers := told(all)
	all = slices.DeleteFunc(all, answers.leftNoTrace)
	model := porcupine.Model{
		Init:  func() any { return state{{balance: balance}} },
		Step:  answers.step,
		Equal: func(one, other any) bool { return slices.Equal(one.(state), other.(state)) },
	}
	made := make([]porcupine.Operation, len(all))
	for i, op := range all {
		made[i] = porcupine.Operation{Input: op, Call: op.Call, Return: op.Return}
		if op.Outcome == "unknown" {
			// It may happen at any time from its call on; after all others is as good as never.
			made[i].Return = math.MaxInt64
		}
	}
	return porcupine.CheckOperationsTimeout(model, made, patience)
}
