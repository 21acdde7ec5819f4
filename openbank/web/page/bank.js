// Calls the bank by gRPC-Web, with the token that the user typed. It is kept in this variable and nowhere else.
import { decode, encode } from "./protobuf.js";
import { METHODS } from "./schema.js";

const TRAILERS = 0x80;
let token = "";

export function useToken(typed) {
  token = typed.trim();
}

export class BankError extends Error {
  constructor(code, message, reason = "") {
    super(message);
    this.code = code;
    this.reason = reason;
  }
  // Whether the user has to do something: the token is missing, wrong, expired, or has no right to this.
  get concernsToken() {
    return this.code === 16 || this.code === 7;
  }
  get mayPass() {
    return [4, 8, 14].includes(this.code);
  }
}

export async function call(method, request) {
  for await (const answer of stream(method, request)) return answer;
  throw new BankError(13, "the bank gave no answer");
}

// Yields the responses. `signal` ends the call.
export async function* stream(method, request, signal) {
  const [path, input, output] = METHODS[method];
  const response = await post(path, encode(input, request), signal);
  for await (const [flags, content] of frames(response.body.getReader())) {
    if (flags & TRAILERS) return check(content);
    yield decode(output, content);
  }
  throw new BankError(14, "the connection to the bank has ended");
}

async function post(path, message, signal) {
  const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };
  if (token) headers.authorization = `Bearer ${token}`;
  const body = new Uint8Array(5 + message.length);
  new DataView(body.buffer).setUint32(1, message.length);
  body.set(message, 5);
  let response;
  try {
    response = await fetch(path, { method: "POST", headers, body, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new BankError(14, "openbank web cannot be reached");
  }
  if (!response.ok) throw new BankError(13, `openbank web refused the call: ${(await response.text()).slice(0, 200)}`);
  return response;
}

async function* frames(reader) {
  let waiting = new Uint8Array();
  try {
    while (true) {
      while (waiting.length >= 5) {
        const size = new DataView(waiting.buffer, waiting.byteOffset).getUint32(1);
        if (waiting.length < 5 + size) break;
        yield [waiting[0], waiting.subarray(5, 5 + size)];
        waiting = waiting.slice(5 + size);
      }
      const { done, value } = await reader.read();
      if (done) return;
      const joined = new Uint8Array(waiting.length + value.length);
      joined.set(waiting);
      joined.set(value, waiting.length);
      waiting = joined;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function check(trailers) {
  const lines = new TextDecoder().decode(trailers).split("\r\n").filter(Boolean);
  const found = new Map(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  const code = Number(found.get("grpc-status") ?? 2);
  if (code) throw new BankError(code, decodeURIComponent(found.get("grpc-message") ?? ""), reasonOf(found.get("grpc-status-details-bin")));
}

function reasonOf(details) {
  if (!details) return "";
  const bytes = Uint8Array.from(atob(details), (character) => character.charCodeAt(0));
  for (const any of decode("google.rpc.Status", bytes).details) {
    if (any.type_url.endsWith("/google.rpc.ErrorInfo")) {
      return decode("google.rpc.ErrorInfo", any.value).reason.replace("ERROR_REASON_", "");
    }
  }
  return "";
}
