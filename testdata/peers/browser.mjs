// Stands in for the person at the browser: opens the URL that a client wants opened in a headless Chromium, signs in,
// allows, and waits for the client's callback page. A client finds it as $BROWSER or xdg-open (a wrapper that the test writes).
//
//   MCPD_TEST_USER, MCPD_TEST_PASSWORD  what to sign in with
//   MCPD_TEST_DENY=1                    press "deny" instead
//   MCPD_TEST_SHOTS=DIR                 keep a picture of every page
//   MCPD_TEST_PROXY, MCPD_TEST_KEYS     go through this proxy, and trust certificates of these keys (SHA-256, base64)
//
// Exits 0 when the client's page was reached; otherwise prints where it stands and what the page says, and exits 1.
import { chromium } from 'playwright-core';

const url = process.argv[2];
const env = process.env;
const limit = 60_000;

const browser = await chromium.launch({
  executablePath: env.MCPD_TEST_CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ...(env.MCPD_TEST_KEYS ? [`--ignore-certificate-errors-spki-list=${env.MCPD_TEST_KEYS}`] : [])],
  proxy: env.MCPD_TEST_PROXY ? { server: env.MCPD_TEST_PROXY, bypass: '127.0.0.1,localhost' } : undefined,
});
let code = 1;
let page;
try {
  page = await browser.newPage();
  page.setDefaultTimeout(limit);
  const issuer = new URL(url).origin;
  const trail = [];
  let shots = 0;
  page.on('framenavigated', (f) => { if (f === page.mainFrame()) trail.push(new URL(f.url()).origin + new URL(f.url()).pathname); });
  // A page of ours that breaks its own content security policy, or wants what is not there, says so here.
  page.on('console', (m) => {
    const from = m.location().url || page.url();
    if (m.type() === 'error' && from.startsWith(issuer) && !from.endsWith('/favicon.ico')) console.log('console:', m.text(), from);
  });
  const picture = async (name) => { if (env.MCPD_TEST_SHOTS) await page.screenshot({ path: `${env.MCPD_TEST_SHOTS}/${++shots}-${name}.png`, fullPage: true }); };

  await page.goto(url, { waitUntil: 'domcontentloaded' });
  const until = Date.now() + limit;
  for (;;) {
    // Whichever comes: the sign-in form, the consent page, or a page that is not the issuer's.
    const at = await Promise.race([
      page.waitForURL((u) => u.origin !== issuer, { waitUntil: 'commit' }).then(() => 'client'),
      page.locator('#username').waitFor().then(() => 'sign-in'),
      page.locator('#allow').waitFor().then(() => 'consent'),
    ]);
    await picture(at);
    if (at === 'client') break;
    if (Date.now() > until) throw new Error(`still at ${at}`);
    if (at === 'sign-in') {
      await page.fill('#username', env.MCPD_TEST_USER ?? '');
      await page.fill('#password', env.MCPD_TEST_PASSWORD ?? '');
    }
    const button = at === 'sign-in' ? '#signin' : env.MCPD_TEST_DENY ? '#deny' : '#allow';
    // Each click leads to another document; a sign-in that is refused comes back to the form, which is an error here.
    await Promise.all([page.waitForEvent('framenavigated', (f) => f === page.mainFrame()), page.click(button)]);
    await page.waitForLoadState('domcontentloaded').catch(() => {});
    if (at === 'sign-in' && await page.locator('#username').count() > 0) throw new Error('sign-in was refused');
  }
  await page.waitForLoadState('domcontentloaded').catch(() => {});
  console.log('trail:', trail.join(' -> '));
  console.log('client page:', ((await page.textContent('body').catch(() => '')) ?? '').trim().slice(0, 200));
  code = 0;
} catch (err) {
  console.log('browser:', String(err).slice(0, 400));
  if (page) {
    const at = new URL(page.url());
    console.log('at:', at.origin + at.pathname, '\npage:', ((await page.textContent('body').catch(() => '')) ?? '').replace(/\s+/g, ' ').trim().slice(0, 800));
  }
} finally {
  await browser.close();
}
process.exit(code);
