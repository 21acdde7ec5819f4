import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { accountEventTypeToJSON } from "./gen/openbank/accounts/v1/account_events";
import {
  AccountsServiceClient, DepositRequest, type DepositResponse, WatchAccountEventsRequest,
} from "./gen/openbank/accounts/v1/accounts_service";
import { ErrorInfo } from "./gen/google/rpc/error_details";
import { Status } from "./gen/google/rpc/status";

/** Whether an error is the bank's answer, which the same request would get again. */
function decided(error: ServiceError): boolean {
  const [details] = error.metadata.get("grpc-status-details-bin");
  const bank = details !== undefined && Status.decode(details as Buffer).details.some(
    (each) => each.typeUrl.endsWith("/google.rpc.ErrorInfo") && ErrorInfo.decode(each.value).domain === "openbank");
  return bank && error.code !== status.UNAVAILABLE && error.code !== status.RESOURCE_EXHAUSTED;
}

/** Calls until there is an answer or a decision, for a minute at most. */
async function again<T>(call: () => Promise<T>): Promise<T> {
  const end = Date.now() + 60_000;
  for (let wait = 100; ; wait = Math.min(2 * wait, 5_000)) {
    try {
      return await call();
    } catch (error) {
      if (decided(error as ServiceError) || Date.now() + wait > end) throw error;
      await sleep(wait);
    }
  }
}

/** Handles all events of an account, and resumes after interruptions. */
async function watch(bank: AccountsServiceClient, accountId: string): Promise<void> {
  let start: WatchAccountEventsRequest["start"] = { $case: "beginning", beginning: {} };
  for (;;) {
    try {
      const request: WatchAccountEventsRequest =
        WatchAccountEventsRequest.fromPartial({ start, accountIds: [accountId], stopWhenCaughtUp: true });
      for await (const response of bank.watchAccountEvents(request)) {
        for (const event of response.events) {
          console.log(`${event.revision} ${accountEventTypeToJSON(event.type)} ${event.balance?.units}`);
        }
        // Keep this token in the transaction with what you made of the events.
        start = { $case: "resumeToken", resumeToken: response.resumeToken };
      }
      return;
    } catch (error) {
      if (decided(error as ServiceError)) throw error;
      await sleep(1_000);
    }
  }
}

async function main(address: string, accountId: string): Promise<void> {
  const bank = new AccountsServiceClient(address, credentials.createInsecure(), {
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 10_000,
  });
  const deposit = DepositRequest.fromPartial({
    requestId: randomUUID(), accountId, amount: { currencyCode: "USD", units: 25n },
  });
  const answer = await again(() => new Promise<DepositResponse>((resolve, reject) => {
    const deadline = Date.now() + 10_000;
    bank.deposit(deposit, new Metadata(), { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  }));
  console.log(`balance ${answer.account?.balance?.units}`);
  await watch(bank, accountId);
  bank.close();
}

main(process.argv[2]!, process.argv[3]!);
