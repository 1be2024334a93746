/** Asks the backend: `api<Greeting>("greeting")` is `GET /api/greeting`, wherever the app is served. */
export async function api<Answer>(path: string, init?: RequestInit): Promise<Answer> {
  const response = await fetch(`${import.meta.env.BASE_URL}api/${path}`, init);
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return (await response.json()) as Answer;
}
