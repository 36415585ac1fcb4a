// A person at the issuer's pages in a headless Chromium, with a passkey on a virtual authenticator (WebAuthn, through the
// DevTools protocol): signs in by password, makes a passkey, signs in by it alone, adds an app for codes, signs in by password
// and code, by an identity elsewhere that it links and a recovery code, connects a device, and ends it all. At a stricter issuer
// they have to set up a second step first.
//
//   node people.mjs ISSUER STRICTER_ISSUER
//
//   MCPD_TEST_USER, MCPD_TEST_PASSWORD  what to sign in with
//   MCPD_TEST_SHOTS=DIR                 keep pictures: wide and narrow, light and dark
//
// Prints a line for each thing that went well, and exits 0; else says where it stands, and exits 1.
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [issuer, stricter] = process.argv.slice(2);
const env = process.env;
const browser = await chromium.launch({
  executablePath: env.MCPD_TEST_CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
let code = 1;
let page;

// The code of an app (RFC 6238), which has read the key from the page.
const totp = (key, step = Math.floor(Date.now() / 30_000)) => {
  const bits = [...key.replace(/\s/g, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const secret = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const count = Buffer.alloc(8);
  count.writeBigUInt64BE(BigInt(step));
  const sum = createHmac('sha1', secret).update(count).digest();
  const at = sum[19] & 15;
  return String((sum.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
};

try {
  const context = await browser.newContext();
  page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const broken = [];
  page.on('console', (m) => { if (m.type() === 'error' && !/status of 4\d\d/.test(m.text())) broken.push(m.text()); });
  page.on('pageerror', (e) => broken.push(String(e)));
  const devtools = await context.newCDPSession(page);
  await devtools.send('WebAuthn.enable');
  const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  // Whoever uses the pages by keyboard, screen reader or with weak eyes: axe-core finds what hinders them, in both colours.
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  const picture = async (name) => {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(axe);
      const rules = colorScheme === 'light' ? ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] : { type: 'rule', values: ['color-contrast'] };
      const { violations } = await page.evaluate((runOnly) => window.axe.run(document, { runOnly }), rules);
      for (const v of violations) broken.push(`${name}, ${colorScheme}: ${v.id}: ${v.nodes.map((n) => `${n.html} ${n.failureSummary}`).join(' ').slice(0, 600)}`);
    }
    await page.setViewportSize({ width: 320, height: 800 });
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) broken.push(`${name} is wider than a phone`);
    if (!env.MCPD_TEST_SHOTS) return;
    for (const [size, width] of [['wide', 1100], ['narrow', 360]]) {
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 800 });
        await page.screenshot({ path: `${env.MCPD_TEST_SHOTS}/${name}-${size}-${colorScheme}.png`, fullPage: true });
      }
    }
  };
  const press = async (id) => { await Promise.all([page.waitForNavigation({ waitUntil: 'load' }), page.click(id)]); };
  const at = (path) => { const now = new URL(page.url()).pathname; if (now !== path) throw new Error(`at ${now}, want ${path}`); };
  const says = async (text) => { if (!(await page.textContent('main')).includes(text)) throw new Error(`does not say ${text}`); };
  const password = async (of = issuer) => {
    await page.goto(`${of}/login`);
    await page.fill('#username', env.MCPD_TEST_USER);
    await page.fill('#password', env.MCPD_TEST_PASSWORD);
    await press('#signin');
  };

  await page.goto(`${issuer}/login`);
  await page.waitForSelector('#passkey');
  await picture('login');
  await password();
  at('/account');
  await picture('account-new');
  console.log('signed in by password');

  await page.waitForSelector('#newpasskey');
  await press('#newpasskey');
  await says('Your passkey is ready');
  if ((await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials.length !== 1) throw new Error('no passkey on the device');
  await page.click('#newpasskey');
  await page.waitForSelector('form[data-passkey] [role=alert]:not([hidden])');
  await says('has a passkey for you already');
  console.log('made a passkey, once');

  await press('#everywhere');
  await says('You are signed out');
  await page.goto(`${issuer}/account`);
  at('/login');
  await press('#passkey');
  at('/account');
  await says('by passkey');
  console.log('signed in by passkey alone');

  await press('#signout');
  await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  await page.goto(`${issuer}/login`);
  await page.click('#passkey');
  await page.waitForSelector('form[data-passkey] [role=alert]:not([hidden])');
  console.log('not by a passkey that nobody unlocked');
  await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true });

  await password();
  at('/login/second');
  await press('#passkey');
  at('/account');
  await says('by password and passkey');
  console.log('signed in by password and passkey');

  await press('#newapp');
  await picture('app');
  const key = await page.textContent('.key');
  await page.fill('#newcode', totp(key));
  await press('#confirm');
  await says('Your app for codes is ready');
  await press('#newrecovery');
  await says('They are shown only now');
  await picture('recovery');
  const recovery = await page.locator('#codes code').allTextContents();
  await press('#kept');
  await says('10 left');
  await press('a[href^="/login/with/corp?link="]');
  at('/login/from/corp');
  await says('alice@corp.example');
  await picture('identity');
  await press('#link');
  await says('It is linked');
  await picture('account');
  await press('#signout');
  await password();
  await page.click('summary');
  await picture('second');
  await page.fill('#code', totp(key, Math.floor(Date.now() / 30_000) + 1)); // the next: this one set the app up
  await press('#confirm');
  at('/account');
  await says('by password and code');
  console.log('signed in by password and code');

  await press('#signout');
  await page.goto(`${issuer}/login`);
  await press('a[href^="/login/with/corp"]');
  at('/login/second');
  await page.click('summary');
  await page.fill('#recovery', 'not-a-code');
  await press('#recover');
  await says('This recovery code is not right');
  await picture('second-again');
  await page.fill('#recovery', recovery[4]);
  await press('#recover');
  at('/account');
  await says('by corp and recovery code');
  await says('9 left');
  console.log('signed in by a linked identity and a recovery code');

  // What a client sends people to: the question, and a page of an error.
  const registered = await (await fetch(`${issuer}/register`, {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ client_name: 'A Program With Quite a Long Name', redirect_uris: ['http://127.0.0.1:1/callback'], token_endpoint_auth_method: 'none' }),
  })).json();
  const asked = new URLSearchParams({
    client_id: registered.client_id, redirect_uri: 'http://127.0.0.1:1/callback', response_type: 'code', state: 's', resource: `${issuer}/demo/mcp`,
    code_challenge: 'a'.repeat(43), code_challenge_method: 'S256',
  });
  await page.goto(`${issuer}/authorize?${asked}`);
  at('/consent');
  await picture('consent');
  asked.set('redirect_uri', 'https://evil.example/');
  await page.goto(`${issuer}/authorize?${asked}`);
  await says('would lead somewhere else');
  await picture('message');
  await page.goto(`${issuer}/logout`);
  await picture('logout');
  await page.goto(`${issuer}/account`);
  console.log('asked about a client');

  // A device without a browser shows a code, which is typed here.
  const form = async (path, fields) => (await fetch(issuer + path, { method: 'POST', body: new URLSearchParams({ client_id: registered.client_id, ...fields }) })).json();
  const device = await form('/device_authorization', { resource: `${issuer}/demo/mcp` });
  await page.goto(device.verification_uri);
  await picture('device');
  await page.fill('#user_code', 'BBBB-BBBB');
  await press('#next');
  await says('No device is waiting');
  await picture('device-wrong');
  await page.fill('#user_code', device.user_code);
  await press('#next');
  await says(device.user_code);
  await picture('device-question');
  await press('#allow');
  await says('The device is connected');
  await picture('device-done');
  const given = await form('/token', { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: device.device_code });
  if (given.token_type !== 'Bearer') throw new Error(`the device got ${JSON.stringify(given)}`);
  await page.goto(`${issuer}/account`);
  console.log('connected a device');

  // Without scripts everything but the passkey is there, and nothing is in the way.
  const plain = await browser.newContext({ javaScriptEnabled: false });
  const other = await plain.newPage();
  await other.goto(`${issuer}/login`);
  if (await other.locator('#passkey').isVisible() || !(await other.locator('#signin').isVisible())) throw new Error('without scripts the page is not whole');
  console.log('works without scripts');

  // Whom the store has forgotten is not let in by a passkey that is still on the device.
  await page.click('form[action="/account/factor"] button >> nth=0');
  await says('It is removed');
  await press('#everywhere');
  await page.goto(`${issuer}/login`);
  await press('#passkey');
  await says('not one that is known here');
  console.log('not by a passkey that was removed');

  await password(stricter);
  at('/login/second');
  await says('a password alone is not enough');
  await picture('setup');
  await page.fill('#newcode', '000000');
  await press('#confirm');
  await picture('setup-wrong');
  await page.fill('#newcode', totp(await page.textContent('.key')));
  await press('#confirm');
  console.log('had to set up a second step');
  if (broken.length > 0) throw new Error(`the pages are not as they should be:\n${broken.join('\n')}`);
  code = 0;
} catch (err) {
  console.log('browser:', String(err).slice(0, 6000));
  if (page) {
    console.log('at:', page.url().split('?')[0], '\npage:', ((await page.textContent('body').catch(() => '')) ?? '').replace(/\s+/g, ' ').trim().slice(0, 1500));
  }
} finally {
  await browser.close();
}
process.exit(code);
