// A report on an account's websites in TypeScript, with a generic client; Node strips the types.
type Meta = { status: number; message?: string; errors?: string[] };
type Envelope<T> = { success: boolean; data: T; meta: Meta };
type Account = { email: string };
type Site = { id: string; name: string; domain: string; createdAt: string };
type Figures = { uniqueVisitors: number; totalPageviews: number; avgSessionDuration: number; bounceRate: number };
type Told = [number, Meta];

class Jetrack {
  readonly #base: string;
  readonly #key: string;

  constructor(base: string, key: string) {
    this.#base = base;
    this.#key = key;
  }

  async read<T>(path: string, query: Record<string, string> = {}): Promise<T> {
    const address = new URL(`${this.#base}/api/v1${path}`);
    for (const [name, value] of Object.entries(query)) address.searchParams.append(name, value);
    const answer = await fetch(address, { headers: { 'X-API-Key': this.#key } });
    const { data, meta } = (await answer.json()) as Envelope<T>;
    if (!answer.ok) throw [answer.status, meta] satisfies Told;
    return data;
  }

  refusal(path: string, query?: Record<string, string>): Promise<Told> {
    return this.read<never>(path, query).catch((told: Told) => told);
  }
}

const base = process.env.BASE_URL!;
const api = new Jetrack(base, process.env.JETRACK_KEY!);
const websites = await api.read<Site[]>('/websites');
const first = `/websites/${websites[0]!.id}/stats/main`;
console.log(
  JSON.stringify({
    email: (await api.read<Account>('/account')).email,
    websites,
    stats: await api.read<Figures>(first, { from: '2025-01-01', to: '2025-01-31' }),
    unauthorized: await new Jetrack(base, 'bj_live_nobody').refusal('/account'),
    forbidden: await api.refusal(`/websites/${process.env.FOREIGN}/stats/main`),
    invalid: await api.refusal(first, { from: 'January', to: '2025-01-31' }),
  }),
);
