// A report on an account's websites with an axios instance, whose interceptor opens the envelope of answers and of errors.
import axios from 'axios';

const { BASE_URL, JETRACK_KEY, FOREIGN } = process.env;

const jetrack = axios.create({ baseURL: `${BASE_URL}/api/v1`, headers: { 'X-API-Key': JETRACK_KEY } });
jetrack.interceptors.response.use(
  (answer) => ({ ...answer, data: answer.data.data }),
  (error) => Promise.reject([error.response.status, error.response.data.meta]),
);

const refusal = (path, options) => jetrack.get(path, options).catch((told) => told);

const { data: account } = await jetrack.get('/account');
const { data: websites } = await jetrack.get('/websites');
const first = `/websites/${websites[0].id}/stats/main`;
const { data: stats } = await jetrack.get(first, { params: { from: '2025-01-01', to: '2025-01-31' } });
console.log(
  JSON.stringify({
    email: account.email,
    websites,
    stats,
    unauthorized: await refusal('/account', { headers: { 'X-API-Key': 'bj_live_nobody' } }),
    forbidden: await refusal(`/websites/${FOREIGN}/stats/main`),
    invalid: await refusal(first, { params: { from: 'January', to: '2025-01-31' } }),
  }),
);
