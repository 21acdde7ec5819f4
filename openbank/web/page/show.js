// Values as people read them. An amount is written from whole units and billionths: no digit of it is ever rounded.
const digits = new Map();

export function money(amount) {
  if (!amount || !amount.currency_code) return "";
  const negative = amount.units < 0n || amount.nanos < 0;
  const units = (amount.units < 0n ? -amount.units : amount.units).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const all = Math.abs(amount.nanos).toString().padStart(9, "0");
  const shown = decimals(amount.currency_code);
  const fraction = all.slice(0, shown) + all.slice(shown).replace(/0+$/, "");
  return `${negative ? "−" : ""}${units}${fraction ? "." + fraction : ""} ${amount.currency_code}`;
}

function decimals(code) {
  if (!digits.has(code)) {
    let count = 2;
    try {
      count = new Intl.NumberFormat("en", { style: "currency", currency: code }).resolvedOptions().maximumFractionDigits;
    } catch { /* A currency that the browser does not know. */ }
    digits.set(code, count);
  }
  return digits.get(code);
}

// For the height of a point, where nobody reads a digit.
export function height(amount) {
  return amount ? Number(amount.units) + amount.nanos / 1e9 : 0;
}

export function time(stamp) {
  return stamp ? new Date(Number(stamp.seconds) * 1000).toLocaleString() : "";
}

export function name(enums, number) {
  return (enums[number] ?? `state ${number}`).replaceAll("_", " ").toLowerCase();
}

// "2 min 5 s", of a Duration.
export function duration(length) {
  const seconds = length ? Number(length.seconds) : 0;
  return seconds < 120 ? `${seconds} s` : seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}
