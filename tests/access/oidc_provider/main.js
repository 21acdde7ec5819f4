// An identity provider on a free port of 127.0.0.1: node main.js CLIENTS, which is JSON: {id: {secret, claims, seconds}}.
// It prints its issuer, and again after each line of input, which replaces its signing key.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const clients = JSON.parse(process.argv[2]);
const server = createServer((request, response) => answer(request, response));
let answer;

function signingKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

function serve() {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  answer = new Provider(issuer, {
    jwks: { keys: [signingKey()] },
    clients: Object.entries(clients).map(([client_id, { secret }]) => ({
      client_id, client_secret: secret, token_endpoint_auth_method: "client_secret_post",
      grant_types: ["client_credentials"], redirect_uris: [], response_types: [],
    })),
    extraTokenClaims: (_, token) => clients[token.clientId].claims,
    ttl: { ClientCredentials: (_, token) => clients[token.clientId].seconds },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      // One server for each resource: its audience is what follows "urn:".
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: "", audience: resource.slice(4), accessTokenFormat: "jwt",
        }),
      },
    },
  }).callback();
  console.log(issuer);
}

server.listen(0, "127.0.0.1", serve);
createInterface({ input: process.stdin }).on("line", serve).on("close", () => process.exit());
