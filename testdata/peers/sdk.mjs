// A client on the official TypeScript SDK, first or second edition: it registers, or comes with the document at a URL (CIMD),
// has $BROWSER open the sign-in, takes the code at a callback of its own, calls the tool echo, and prints what that said.
//
//   node sdk.mjs v1|v2 URL ERA [DOCUMENT]
//
// ERA is of the second edition: legacy, auto or modern. The first has none. DOCUMENT is the client's, for CIMD.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import * as v1 from '@modelcontextprotocol/sdk/client/index.js';
import { UnauthorizedError as Unauthorized1 } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import * as v2 from '@modelcontextprotocol/client';

const [edition, url, era, document] = process.argv.slice(2);
const { Client, Transport, Unauthorized } = edition === 'v1'
  ? { Client: v1.Client, Transport: Transport1, Unauthorized: Unauthorized1 }
  : { Client: v2.Client, Transport: v2.StreamableHTTPClientTransport, Unauthorized: v2.UnauthorizedError };

let answered;
const answer = new Promise((resolve) => { answered = resolve; });
const server = createServer((request, response) => {
  const at = new URL(request.url, 'http://127.0.0.1');
  if (at.pathname !== '/callback') return response.writeHead(404).end();
  response.end('You can close this page.');
  answered(at.searchParams);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const redirectUrl = `http://127.0.0.1:${server.address().port}/callback`;

const kept = {};
const provider = {
  redirectUrl,
  clientMetadataUrl: document,
  clientMetadata: { client_name: `TypeScript SDK ${edition}`, redirect_uris: [redirectUrl], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], token_endpoint_auth_method: 'none' },
  state: () => 'state-of-the-client',
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  redirectToAuthorization: (to) => { spawn(process.env.BROWSER, [to.href], { stdio: 'ignore' }); },
};
const options = era === 'modern' ? { versionNegotiation: { mode: { pin: '2026-07-28' } } } : era === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = () => new Client({ name: 'sdk', version: '1' }, options);

let code = 1;
try {
  const first = new Transport(new URL(url), { authProvider: provider });
  await client().connect(first).then(() => { throw new Error('connected without having signed in'); }, (err) => { if (!(err instanceof Unauthorized)) throw err; });
  const got = await answer;
  if (got.get('state') !== 'state-of-the-client') throw new Error(`state is ${got.get('state')}`);
  await (edition === 'v1' ? first.finishAuth(got.get('code')) : first.finishAuth(got));

  const connected = client();
  await connected.connect(new Transport(new URL(url), { authProvider: provider }));
  const { tools } = await connected.listTools();
  const result = await connected.callTool({ name: 'echo', arguments: { text: 'hi' } });
  if (document && kept.client.client_id !== document) throw new Error(`came as ${kept.client.client_id}`);
  if (!kept.tokens.refresh_token) throw new Error('no refresh token');
  console.log(`${tools.length} tools; echo said ${result.content[0].text}`);
  await connected.close();
  code = 0;
} catch (err) {
  console.log(err);
} finally {
  server.close();
}
process.exit(code);
