// Logs in, measures a page as the page itself does, reads its site's statistics, and logs in anew when its token is not taken.
const { BASE_URL, EMAIL, PASSWORD, SITE } = process.env;
const asked = `${BASE_URL}/api/stats?siteId=${SITE}&startDate=2025-01-01&endDate=2025-01-31`;
const seen = [];
let token = 'an.old.token';

async function post(path, body, headers = {}) {
  const sent = { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) };
  return fetch(`${BASE_URL}/api${path}`, sent);
}

async function login() {
  const { token: fresh, user } = await (await post('/auth/login', { email: EMAIL, password: PASSWORD })).json();
  token = fresh;
  return user.email;
}

async function stats() {
  const answer = await fetch(asked, { headers: { Authorization: `Bearer ${token}` } });
  seen.push([answer.status, answer.headers.get('access-control-allow-origin')]);
  if (answer.status === 401) {
    seen.push((await answer.json()).error);
    seen.push(await login());
    return stats();
  }
  return answer.json();
}

const { data, summary } = await stats();
const wrong = await fetch(`${BASE_URL}/api/stats`, { headers: { Authorization: `Bearer ${token}` } });
const tracked = await post('/track', { type: 'pageview', siteId: SITE, path: '/from-node' }, { Origin: 'https://shop.example' });
console.log(
  JSON.stringify({ seen, data, summary, wrong: [wrong.status, await wrong.json()], tracked: [tracked.status, await tracked.json()] }),
);
