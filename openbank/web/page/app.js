// The page: the accounts of one owner, what happens on one of them, and what operators look after.
import { BankError, call, stream, useToken } from "./bank.js";
import { element, find, plot, rows } from "./dom.js";
import { ENUMS } from "./schema.js";
import { duration, height, money, name, time } from "./show.js";

const PAGE = 100;
const EVENTS_MAX = 200;
const RETRY_MS = [1000, 10000];
const REFRESH_MS = 300;

const accounts = new Map();
let selected = "";
let events = [];
let watching = new AbortController();
// The token of the last answer of the watch. Reads wait until they see what it said: nothing says it again.
let seen = "";
let refreshing = 0;
const stale = new Set();

find("connect").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  useToken(find("token").value);
  begin(find("owner").value.trim());
});
find("operations-refresh").addEventListener("click", () => guarded(showOperations));

async function begin(owner) {
  watching.abort();
  watching = new AbortController();
  const { signal } = watching;
  accounts.clear();
  seen = "";
  select("");
  showAccounts();
  await guarded(async () => {
    say("Loading");
    const token = await loadAccounts(owner, signal);
    follow(owner, token, signal);
  });
  guarded(showOperations, find("views"));
}

// The token of the last page: what happens after it, the watch brings.
async function loadAccounts(owner, signal) {
  let page_token = "", last;
  do {
    last = await call("ListAccountsByOwner", { owner_id: owner, page_size: PAGE, page_token, consistency_token: seen });
    if (signal.aborted) return "";
    for (const account of last.accounts) accounts.set(account.account_id, account);
    page_token = last.next_page_token;
  } while (page_token);
  showAccounts();
  return last.consistency_token;
}

// Watches until `signal`, and again after every end of a connection, from the last token: nothing is missed.
async function follow(owner, token, signal) {
  let pause = RETRY_MS[0];
  while (!signal.aborted) {
    try {
      for await (const answer of stream("WatchAccountEvents", { owner_ids: [owner], resume_token: token }, signal)) {
        if (signal.aborted) return;
        say(answer.caught_up ? "Live" : "Catching up");
        pause = RETRY_MS[0];
        token = seen = answer.resume_token;
        let isNew = false;
        for (const event of answer.events) isNew = take(event) || isNew;
        if (isNew) await loadAccounts(owner, signal);
        else if (answer.events.length) showAccounts();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof BankError) || !error.mayPass) return fail(error);
      say(`Disconnected, trying again: ${error.message}`);
    }
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(2 * pause, RETRY_MS[1]);
  }
}

// Whether the event is of an account that is not in the list yet.
function take(event) {
  const account = accounts.get(event.account_id);
  if (account && event.revision > account.revision) {
    account.revision = event.revision;
    account.balance = event.balance;
    account.available_balance = event.available_balance;
    refresh(event.account_id);
  }
  if (event.account_id === selected && !events.some((one) => one.revision === event.revision)) {
    events = [event, ...events].slice(0, EVENTS_MAX);
    showMovements();
  }
  return !account;
}

// What an event does not say, state and holds for one, is read once no more events come.
function refresh(account_id) {
  stale.add(account_id);
  clearTimeout(refreshing);
  refreshing = setTimeout(() => guarded(async () => {
    const read = [...stale];
    stale.clear();
    for (const one of read) await reload(one);
    showAccounts();
  }), REFRESH_MS);
}

async function reload(account_id) {
  const { account } = await call("GetAccount", { account_id, consistency_token: seen });
  if (accounts.has(account_id)) accounts.set(account_id, account);
  if (account_id === selected) await showTransfersAndHolds(account_id);
}

function showAccounts() {
  const lines = [...accounts.values()].map((account) => {
    const choose = element("button", account.account_number, { type: "button", "aria-pressed": String(account.account_id === selected) });
    choose.dataset.account = account.account_id;
    choose.addEventListener("click", () => guarded(() => open(account.account_id)));
    const amounts = [account.balance, account.available_balance, account.held_balance].map(money);
    return [choose, name(ENUMS.AccountState, account.state), ...amounts];
  });
  // A row that is replaced must not take the focus away from the keyboard.
  const focused = document.activeElement?.dataset?.account;
  rows(find("accounts"), lines, "No accounts");
  if (focused) find("accounts").querySelector(`[data-account="${CSS.escape(focused)}"]`)?.focus();
}

async function open(account_id) {
  select(account_id);
  showAccounts();
  const answer = await call("ListAccountEvents", { account_id, page_size: EVENTS_MAX, consistency_token: seen });
  if (account_id !== selected) return;
  events = answer.events;
  showMovements();
  find("account").hidden = false;
  find("account-heading").textContent = `Account ${accounts.get(account_id)?.account_number ?? account_id}`;
  find("account-heading").focus();
  await showTransfersAndHolds(account_id);
}

function select(account_id) {
  selected = account_id;
  events = [];
  find("account").hidden = true;
}

function showMovements() {
  rows(find("movements"), events.map((event) => {
    const [kind, what] = payload(event);
    return [time(event.record_time), kind.replaceAll("_", " "), what.description ?? what.reason ?? "", money(what.amount ?? what.initial_deposit ?? what.limit), money(event.balance)];
  }), "No movements");
  const oldest = [...events].reverse();
  const label = `Balance over the last ${events.length} events: now ${money(events[0]?.balance)}`;
  plot(find("plot"), oldest.map((event) => height(event.balance)), label);
}

// The name of what happened and its own fields; of an event that this page does not know, none.
function payload(event) {
  const found = Object.entries(event).find(([key, value]) => value !== null && typeof value === "object" && key in KINDS);
  return found ?? [name(ENUMS.AccountEventType, event.type), {}];
}
const KINDS = Object.fromEntries(Object.values(ENUMS.AccountEventType).map((kind) => [kind.toLowerCase(), true]));

async function showTransfersAndHolds(account_id) {
  const [sent, held] = await Promise.all([
    call("ListTransfers", { account_id, page_size: PAGE, consistency_token: seen }),
    call("ListHolds", { account_id, page_size: PAGE, consistency_token: seen }),
  ]);
  if (account_id !== selected) return;
  rows(find("transfers"), sent.transfers.map((one) => {
    const out = one.source_account_id === account_id;
    const other = out ? `to ${one.destination_account_id}` : `from ${one.source_account_id}`;
    return [time(one.create_time), other, name(ENUMS.TransferState, one.state), one.description, (out ? "−" : "+") + money(one.amount)];
  }), "No transfers");
  rows(find("holds"), held.holds.map((one) => [
    time(one.expire_time), name(ENUMS.HoldState, one.state), one.description, money(one.amount), money(one.remaining_amount),
  ]), "No holds");
}

async function showOperations() {
  const [listed, views] = await Promise.all([call("ListSinks", {}), call("GetRebuild", {})]);
  rows(find("sinks"), listed.sinks.map((sink) => [
    sink.name, name(ENUMS.SinkState, sink.state), `${sink.lag_events} events`, duration(sink.lag_duration), String(sink.parked_count), sink.trouble,
  ]), "No sinks");
  const behind = views.head_position - views.serving_position;
  const rebuild = views.rebuild ? name(ENUMS.ViewsRebuildState, views.rebuild.state) : "none";
  find("views").textContent = `Views: ${behind > 0n ? `${behind} positions behind the log` : "level with the log"}. Last rebuild: ${rebuild}.`;
}

function say(text) {
  if (find("status").textContent !== text) find("status").textContent = text;
}

function fail(error) {
  const reason = error.reason ? ` (${error.reason})` : "";
  find("trouble").textContent = `${error.message}${reason}`;
  find("trouble").hidden = false;
  say("Not connected");
  if (error.concernsToken) find("token").focus();
}

// What goes wrong is shown; in `quietly`, where most callers have no right to ask, without an alarm.
async function guarded(work, quietly) {
  try {
    find("trouble").hidden = !quietly && true;
    await work();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (quietly) quietly.textContent = error.concernsToken ? "Not for this token" : error.message;
    else fail(error);
  }
}
