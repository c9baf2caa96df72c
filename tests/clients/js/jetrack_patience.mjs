// Asks more often than it may, and waits longer from try to try while it is told 429.
import { setTimeout as rest } from 'node:timers/promises';

const { BASE_URL, JETRACK_KEY } = process.env;
const statuses = [];

async function account() {
  for (let wait = 1000; ; wait *= 2) {
    const answer = await fetch(`${BASE_URL}/api/v1/account`, { headers: { 'X-API-Key': JETRACK_KEY } });
    statuses.push(answer.status);
    if (answer.status !== 429) return answer.json();
    await rest(wait);
  }
}

await account();
await account();
console.log(JSON.stringify({ statuses }));
