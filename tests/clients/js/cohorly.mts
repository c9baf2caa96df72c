// A typed reader of people and projects; Node strips the types.
type Project = { id: number; name: string; token: string; created_at: number; event_count: number };
type Person = {
  distinct_id: string;
  properties: Record<string, unknown>;
  first_seen: number | null;
  last_seen: number | null;
  event_count: number;
};

async function read<T>(path: string, key = process.env.COHORLY_KEY): Promise<T> {
  const answer = await fetch(`${process.env.BASE_URL}${path}`, { headers: { Authorization: `Bearer ${key}` } });
  const body: unknown = await answer.json();
  if (!answer.ok) throw new Error(JSON.stringify([answer.status, body]));
  return body as T;
}

const projects = await read<Project[]>('/api/projects');
const people = await read<Person[]>(`/api/users?projectId=${projects[0]!.id}&limit=10`);
const person = await read<Person>(`/api/users/${people[0]!.distinct_id}?projectId=${projects[0]!.id}`);
const unauthorized = await read('/api/projects', 'coh_nobody').catch((error: Error) => JSON.parse(error.message));
console.log(JSON.stringify({ projects, people, person, unauthorized }));
