import { existsSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from '../helpers/app';

const MAC_CHROME = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';
const isMissing = process.platform === 'darwin' && !existsSync(MAC_CHROME);
if (isMissing) process.stderr.write('\nNO BROWSER: /docs IS NOT TESTED. Install Google Chrome.\n\n');

/** Chromium from npm, which is for Linux; on macOS the installed Chrome. */
async function findBrowser(): Promise<{ executablePath: string; args: string[] }> {
  if (process.platform === 'darwin') return { executablePath: MAC_CHROME, args: [] };
  // Outside Lambda it unpacks its libraries only when it believes to be there.
  process.env.AWS_LAMBDA_JS_RUNTIME ??= 'nodejs22.x';
  process.env.AWS_EXECUTION_ENV ??= 'AWS_Lambda_nodejs22.x';
  const { default: sparticuz } = await import('@sparticuz/chromium');
  return { executablePath: await sparticuz.executablePath(), args: sparticuz.args };
}

describe.skipIf(isMissing)('GET /docs', () => {
  let app: App;
  let browser: Browser;
  let page: Page;
  const violations: string[] = [];
  const elsewhere: string[] = [];
  const admin = { email: 'camille.docs@example.com', password: 'correct horse battery' };

  beforeAll(async () => {
    app = await startApp();
    const response = await fetch(`${app.url}/auth/sign-up`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ company: { name: 'Docs' }, user: { firstName: 'Camille', lastName: 'Moreau', ...admin } }),
    });
    expect(response.status).toBe(201);
    browser = await chromium.launch({ ...(await findBrowser()), headless: true });
    page = await browser.newPage();
    page.setDefaultTimeout(10_000);
    page.on('console', message => {
      if (message.type() === 'error') violations.push(message.text());
    });
    page.on('pageerror', error => violations.push(error.message));
    page.on('request', request => {
      if (!request.url().startsWith(app.url) && !request.url().startsWith('data:')) elsewhere.push(request.url());
    });
  });

  afterAll(async () => {
    await browser?.close();
  });

  it('shows every operation, from this server alone, under a policy that lets nothing inline run', async () => {
    const response = await page.goto(`${app.url}/docs`);
    const policy = response?.headers()['content-security-policy'] ?? '';
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toContain('unsafe');
    await page.locator('.opblock').first().waitFor();
    const { paths } = (await (await fetch(`${app.url}/openapi.json`)).json()) as { paths: Record<string, object> };
    const operations = Object.values(paths).flatMap(path => Object.keys(path));
    expect(await page.locator('.opblock').count()).toBe(operations.length);
    expect(elsewhere).toEqual([]);
    expect(violations).toEqual([]);
  });

  it('says what is wrong when signing in fails', async () => {
    await signIn(admin.email, 'not the password');
    await page.getByRole('status').filter({ hasText: 'do not belong together' }).waitFor();
    violations.length = 0;
  });

  it('signs in and makes a call', async () => {
    await signIn(admin.email, admin.password);
    await page
      .getByRole('status')
      .filter({ hasText: `Signed in as ${admin.email} (ADMIN)` })
      .waitFor();
    const operation = page.locator('.opblock[id$=getMe]');
    await operation.locator('.opblock-summary-control').click();
    const answered = page.waitForResponse(`${app.url}/users/me`);
    await operation.getByRole('button', { name: 'Execute' }).click();
    expect((await answered).status()).toBe(200);
    await operation.locator('.live-responses-table').filter({ hasText: admin.email }).waitFor();
    expect(violations).toEqual([]);
    expect(elsewhere).toEqual([]);
  });

  it('signs out', async () => {
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await page.getByRole('status').filter({ hasText: 'Signed out.' }).waitFor();
    const operation = page.locator('.opblock[id$=getMe]');
    const answered = page.waitForResponse(`${app.url}/users/me`);
    await operation.getByRole('button', { name: 'Execute' }).click();
    expect((await answered).status()).toBe(401);
  });

  async function signIn(email: string, password: string): Promise<void> {
    await page.getByLabel('E-mail').fill(email);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  }
});
