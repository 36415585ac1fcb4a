// A person at the MCP Inspector's web page, in a headless Chromium: connects it to a server, signs in, allows, picks the tool
// echo, types a text, has it executed, and reads the result.
//
//   node inspector.mjs INSPECTOR URL
//
// INSPECTOR is the Inspector's own launcher. The environment is that of browser.mjs. Prints what it went through, and exits 0; else
// says where it stands, and exits 1.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { chromium } from 'playwright-core';

const [inspector, url] = process.argv.slice(2);
const env = process.env;
const free = () => new Promise((resolve) => {
  const s = createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(String(port))); });
});
const web = spawn(process.execPath, [inspector, '--web', '--server-url', url, '--transport', 'http', '--protocol-era', 'auto'], {
  env: { ...env, MCP_AUTO_OPEN_ENABLED: 'false', MCP_OAUTH_CALLBACK_URL: undefined, CLIENT_PORT: await free(), MCP_SANDBOX_PORT: await free() }, stdio: ['ignore', 'pipe', 'inherit'],
});
const start = await new Promise((resolve, reject) => {
  let said = '';
  web.stdout.on('data', (b) => {
    said += b;
    const at = /http:\/\/\S+MCP_INSPECTOR_API_TOKEN=\w+/.exec(said);
    if (at) resolve(at[0]);
  });
  web.on('exit', () => reject(new Error(`the Inspector ended: ${said}`)));
});

const browser = await chromium.launch({
  executablePath: env.MCPD_TEST_CHROMIUM || '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', `--ignore-certificate-errors-spki-list=${env.MCPD_TEST_KEYS ?? ''}`],
  proxy: env.MCPD_TEST_PROXY ? { server: env.MCPD_TEST_PROXY, bypass: '127.0.0.1,localhost' } : undefined,
});
let code = 1;
const page = await browser.newPage({ viewport: { width: 1300, height: 900 } });
try {
  page.setDefaultTimeout(60_000);
  await page.goto(start, { waitUntil: 'domcontentloaded' });
  await page.locator('[aria-label^="Connect or disconnect"]').click({ force: true }); // a switch, which its label covers
  await page.fill('#username', env.MCPD_TEST_USER);
  await page.fill('#password', env.MCPD_TEST_PASSWORD);
  console.log('signs in at', new URL(page.url()).hostname);
  await page.click('#signin');
  await page.click('#allow');
  await page.getByText('Tools', { exact: true }).first().click();
  await page.getByText('echo', { exact: true }).first().click();
  await page.getByRole('textbox', { name: 'text', exact: true }).fill('said in the page');
  await page.getByRole('button', { name: 'Execute Tool' }).click();
  await page.getByText('said in the page', { exact: true }).and(page.locator(':not(input):not(textarea)')).first().waitFor();
  console.log('called in the era', (await page.getByText(/^(modern|legacy)$/i).first().textContent()).toLowerCase());
  if (env.MCPD_TEST_SHOTS) await page.screenshot({ path: `${env.MCPD_TEST_SHOTS}/inspector.png` });
  code = 0;
} catch (err) {
  console.log('browser:', String(err).slice(0, 1000));
  console.log('at:', page.url().split('?')[0], '\npage:', (await page.evaluate(() => document.body.innerText).catch(() => '')).replace(/\s+/g, ' ').slice(0, 800));
} finally {
  web.kill();
  await browser.close();
}
process.exit(code);
