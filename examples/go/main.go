package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	accountsv1 "github.com/openbank/openbank/gen/go/openbank/accounts/v1"
	commonv1 "github.com/openbank/openbank/gen/go/openbank/common/v1"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// decided says whether an error is the bank's answer, which the same request would get again.
func decided(err error) bool {
	s := status.Convert(err)
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "openbank" {
			return s.Code() != codes.Unavailable && s.Code() != codes.ResourceExhausted
		}
	}
	return false
}

// again calls until there is an answer or a decision, for a minute at most.
func again(call func(context.Context) error) error {
	for wait, end := 100*time.Millisecond, time.Now().Add(time.Minute); ; wait = min(2*wait, 5*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := call(ctx)
		cancel()
		if err == nil || decided(err) || time.Now().Add(wait).After(end) {
			return err
		}
		time.Sleep(wait)
	}
}

// watch handles all events of an account, and resumes after interruptions.
func watch(bank accountsv1.AccountsServiceClient, accountID string) error {
	request := &accountsv1.WatchAccountEventsRequest{AccountIds: []string{accountID}, StopWhenCaughtUp: true,
		Start: &accountsv1.WatchAccountEventsRequest_Beginning{Beginning: &emptypb.Empty{}}}
	for {
		stream, err := bank.WatchAccountEvents(context.Background(), request)
		for err == nil {
			var response *accountsv1.WatchAccountEventsResponse
			if response, err = stream.Recv(); err != nil {
				break
			}
			for _, event := range response.Events {
				fmt.Println(event.Revision, event.Type, event.Balance.Units, event.Balance.CurrencyCode)
			}
			// Keep this token in the transaction with what you made of the events.
			request.Start = &accountsv1.WatchAccountEventsRequest_ResumeToken{ResumeToken: response.ResumeToken}
		}
		if err == io.EOF {
			return nil
		}
		if decided(err) {
			return err
		}
		time.Sleep(time.Second)
	}
}

func main() {
	connection, err := grpc.NewClient(os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: 5 * time.Second}))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	bank := accountsv1.NewAccountsServiceClient(connection)
	deposit := &accountsv1.DepositRequest{RequestId: uuid.NewString(), AccountId: os.Args[2],
		Amount: &commonv1.Money{CurrencyCode: "USD", Units: 25}}
	var answer *accountsv1.DepositResponse
	if err := again(func(ctx context.Context) (err error) {
		answer, err = bank.Deposit(ctx, deposit)
		return err
	}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("balance", answer.Account.Balance.Units)
	if err := watch(bank, os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
