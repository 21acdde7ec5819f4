// Calls a bank by gRPC-Web with Connect's own client: node main.js URL DESCRIPTORS ACCOUNT. Prints the answers as JSON.
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const [baseUrl, descriptors, accountId] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const service = registry.getService("openbank.accounts.v1.AccountsService");
const bank = createClient(service, createGrpcWebTransport({ baseUrl, useBinaryFormat: true }));

const { account } = await bank.getAccount({ accountId });
const revisions = [];
for await (const answer of bank.watchAccountEvents({
  start: { case: "beginning", value: {} }, accountIds: [accountId], stopWhenCaughtUp: true,
})) {
  revisions.push(...answer.events.map((event) => Number(event.revision)));
}
let refused = "";
try {
  await bank.getAccount({ accountId: "nobody" });
} catch (error) {
  const reasons = ConnectError.from(error).details.map((detail) => detail.type);
  refused = `${Code[error.code]} ${reasons.includes("google.rpc.ErrorInfo")}`;
}
const response = registry.getMessage("openbank.accounts.v1.Account");
console.log(JSON.stringify({ account: toJson(response, account), revisions, refused }));
