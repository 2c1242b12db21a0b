// Facts are awaited, never slept for.

/** When they count as not coming. */
export const PATIENCE_MS = 30_000;

export function fail(words) {
  throw new Error(words);
}

export async function within(promise, words) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`in vain: ${words}`)), PATIENCE_MS)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until `isTrue`; what `tell` says is told when it never is. */
export async function until(words, isTrue, tell = () => "") {
  const end = Date.now() + PATIENCE_MS;
  while (!(await isTrue())) {
    if (Date.now() > end) fail(`in vain: ${words}\n${tell()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  console.log(`  ${words}`);
}
