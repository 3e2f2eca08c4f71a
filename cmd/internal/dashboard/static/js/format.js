// Figures as people read them. A missing value is a dash that a screen reader can say.

const MISSING = "–";
const missing = (v) => v === null || v === undefined || Number.isNaN(v);

// num shows three significant digits and never an exponent that a table cannot hold.
export function num(v, digits = 3) {
  if (missing(v)) return MISSING;
  const a = Math.abs(v);
  if (a !== 0 && (a < 1e-3 || a >= 1e7)) return v.toExponential(2);
  if (a >= 10 ** (digits - 1)) return v.toLocaleString("en", { maximumFractionDigits: a >= 1000 ? 0 : 1 });
  return String(Number(v.toPrecision(digits)));
}

export const fixed = (v, places) => (missing(v) ? MISSING : v.toFixed(places));
export const count = (v) => (missing(v) ? MISSING : v.toLocaleString("en"));

// si shortens counts: 41.3k.
export function si(v) {
  if (missing(v)) return MISSING;
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (v >= size) return trim(v / size) + unit;
  return trim(v);
}

const trim = (v) => (v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1).replace(/\.0$/, "") : String(Number(v.toFixed(v >= 1 ? 1 : 2))));

export const rate = (v) => (missing(v) ? MISSING : si(v) + "/s");

export function bytes(v) {
  if (missing(v)) return MISSING;
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (v >= size) return trim(v / size) + " " + unit;
  return trim(v) + " B";
}

export const throughput = (v) => (missing(v) ? MISSING : bytes(v) + "/s");

export function ms(v) {
  if (missing(v)) return MISSING;
  if (v === 0) return "0 ms";
  if (v >= 1000) return trim(v / 1000) + " s";
  return v < 0.01 ? trim(v * 1000) + " µs" : trim(v) + " ms";
}

// clock shows a length of recording: 14:58, or 1:02:03; below a minute with tenths.
export function clock(seconds) {
  if (missing(seconds)) return MISSING;
  if (seconds < 60) return seconds.toFixed(1) + " s";
  const n = Math.round(seconds), two = (v) => String(v).padStart(2, "0");
  const text = `${two(Math.floor(n / 60) % 60)}:${two(n % 60)}`;
  return n >= 3600 ? `${Math.floor(n / 3600)}:${text}` : text.replace(/^0/, "");
}

export const seconds = (ns, places = 2) => (missing(ns) ? MISSING : (ns / 1e9).toFixed(places) + " s");

// age shows how long ago something was.
export function age(iso, now = Date.now()) {
  if (!iso || iso.startsWith("0001")) return MISSING;
  return span(Math.max(0, (now - Date.parse(iso)) / 1000));
}

export function span(s) {
  if (s < 60) return Math.round(s) + " s";
  if (s < 3600) return Math.round(s / 60) + " min";
  if (s < 172800) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " d";
}

export const timeOfDay = (iso) => (!iso || iso.startsWith("0001") ? MISSING : new Date(iso).toLocaleString("en-GB", { hour12: false }));

// brief is an error's first line, without the name of the recording that stands beside it.
export function brief(error, recording) {
  const line = error.split("\n")[0];
  return recording && line.startsWith(recording + ": ") ? line.slice(recording.length + 2) : line;
}

export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;
