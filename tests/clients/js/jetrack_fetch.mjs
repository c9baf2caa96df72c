// A report on an account's websites with fetch: a status that is none of success is thrown.
const { BASE_URL, JETRACK_KEY, FOREIGN } = process.env;

class Refused extends Error {
  constructor(status, body) {
    super(`refused with ${status}`);
    this.told = [status, body.meta];
  }
}

async function read(path, { key = JETRACK_KEY, ...query } = {}) {
  const answer = await fetch(`${BASE_URL}/api/v1${path}?${new URLSearchParams(query)}`, { headers: { 'X-API-Key': key } });
  if (!answer.ok) throw new Refused(answer.status, await answer.json());
  return answer.json();
}

const refusal = (path, options) => read(path, options).catch((error) => error.told);

const { data: account } = await read('/account');
const { data: websites } = await read('/websites');
const first = `/websites/${websites[0].id}/stats/main`;
const { data: stats } = await read(first, { from: '2025-01-01', to: '2025-01-31' });
console.log(
  JSON.stringify({
    email: account.email,
    websites,
    stats,
    unauthorized: await refusal('/account', { key: 'bj_live_nobody' }),
    forbidden: await refusal(`/websites/${FOREIGN}/stats/main`),
    invalid: await refusal(first, { from: 'January', to: '2025-01-31' }),
  }),
);
