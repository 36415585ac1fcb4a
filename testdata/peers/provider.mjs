// An OpenID Connect provider that people sign in with: panva's oidc-provider, with its own sign-in and consent pages.
//
//   node provider.mjs ACCOUNTS REDIRECT
//
// ACCOUNTS is a JSON file, read at every question: {"NAME": {"email": …, "groups": […]}}; who is not in it (any more) is not
// signed in. REDIRECT is the redirect URI of the client "mcpd", on loopback and for any port. Prints its issuer.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const [accounts, redirect] = process.argv.slice(2);
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'mcpd', client_secret: 'the secret of mcpd', application_type: 'native', redirect_uris: [redirect],
      grant_types: ['authorization_code'], response_types: ['code'],
    }],
    claims: { openid: ['sub'], email: ['email', 'email_verified', 'groups'] },
    pkce: { required: () => true },
    findAccount(ctx, id) {
      const of = JSON.parse(readFileSync(accounts, 'utf8'))[id];
      return of && { accountId: id, claims: () => ({ sub: id, email_verified: true, ...of }) };
    },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
