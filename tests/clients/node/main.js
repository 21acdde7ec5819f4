// Calls a bank until it stops, and prints how each call ended. See ../programs.py.
"use strict";

const grpc = require("@grpc/grpc-js");

const task = JSON.parse(process.argv[2]);
const raw = (message) => message;

function connect() {
  // Each client a connection of its own: grpc-js shares those of equal channels.
  const options = { "grpc.use_local_subchannel_pool": 1 };
  return new grpc.Client(task.address, grpc.credentials.createInsecure(), options);
}

function callOnce(client, call) {
  const body = Buffer.from(call.body, "hex");
  return new Promise((resolve, reject) => {
    if (call.stream) {
      const stream = client.makeServerStreamRequest(call.method, raw, raw, body);
      stream.on("data", () => {});
      stream.on("error", reject);
      stream.on("end", resolve);
    } else {
      client.makeUnaryRequest(call.method, raw, raw, body, (error) => (error ? reject(error) : resolve()));
    }
  });
}

async function callUntilRefused(kept, call) {
  for (let answers = 0; ; answers++) {
    const client = kept || connect();
    try {
      await callOnce(client, call);
    } catch (error) {
      const [details] = error.metadata.get("grpc-status-details-bin");
      return {
        method: call.method, kept: Boolean(kept), answers,
        code: error.code, message: error.details, details: details ? details.toString("hex") : "",
      };
    } finally {
      if (!kept) client.close();
    }
  }
}

async function main() {
  const kept = connect();
  const workers = [];
  for (const call of task.calls) {
    for (let i = 0; i < task.workers; i++) workers.push(callUntilRefused(kept, call));
    workers.push(callUntilRefused(null, call));
  }
  console.log(JSON.stringify(await Promise.all(workers)));
  process.exit(0);
}

main();
