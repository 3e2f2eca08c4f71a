// The HTTP API as the dashboard uses it; everything here has a command-line verb too.

// Problem is an answer that says no.
export class Problem extends Error {
  constructor(body, status) {
    super(body.error ?? `the server answered ${status}`);
    this.code = body.code;
    this.next = body.next;
    this.status = status;
  }
}

export async function get(path, signal) {
  return answer(await fetch(path, { signal, headers: { Accept: "application/json" } }));
}

export async function post(path, body) {
  return answer(await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) }));
}

async function answer(response) {
  if (response.ok) return response.json();
  throw new Problem(await response.json().catch(() => ({})), response.status);
}

export const path = (...parts) => "/api/v1/" + parts.map(encodeURIComponent).join("/");
