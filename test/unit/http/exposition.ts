// Reads Prometheus' text format 0.0.4 and OpenMetrics 1.0 strictly: throws at the first line that breaks a rule of the format.

export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Reading[];
}

export interface Reading {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export type Format = 'prometheus' | 'openmetrics';

const helpLine = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)$/;
const typeLine = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)$/;
const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const labelPair = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;

/** Families by name; in OpenMetrics a counter's is without `_total`. */
export function readExposition(text: string, format: Format): ReadonlyMap<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the text does not end with a line feed');
  const lines = text.split('\n').slice(0, -1);
  if (format === 'openmetrics' && lines.pop() !== '# EOF') throw new Error('the text does not end with # EOF');
  const families = new Map<string, { name: string; type: string; help: string; samples: Reading[] }>();
  let current: { name: string; type: string; help: string; samples: Reading[] } | undefined;
  const seen = new Set<string>();
  for (const line of lines) {
    if (line === '' && format === 'prometheus') continue;
    const help = helpLine.exec(line);
    if (help !== null) {
      const name = help[1] ?? '';
      if (families.has(name)) throw new Error(`${name} is described twice`);
      current = { name, type: '', help: help[2] ?? '', samples: [] };
      families.set(name, current);
      continue;
    }
    const type = typeLine.exec(line);
    if (type !== null) {
      if (current === undefined || current.name !== type[1] || current.type !== '' || current.samples.length > 0)
        throw new Error(`misplaced: ${line}`);
      current.type = type[2] ?? '';
      continue;
    }
    const reading = readSample(line);
    if (current === undefined || !belongs(reading, current, format)) throw new Error(`in the wrong family: ${line}`);
    const series = `${reading.name}${JSON.stringify(Object.entries(reading.labels).sort())}`;
    if (seen.has(series)) throw new Error(`twice: ${line}`);
    seen.add(series);
    current.samples.push(reading);
  }
  for (const family of families.values()) {
    if (family.type === '') throw new Error(`${family.name} has no type`);
    if (family.type === 'histogram') checkHistogram(family);
  }
  return families;
}

/** The value of one series; undefined when there is none. */
export function readingOf(
  families: ReadonlyMap<string, Family>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const wanted = JSON.stringify(Object.entries(labels).sort());
  for (const { samples } of families.values())
    for (const sample of samples)
      if (sample.name === name && JSON.stringify(Object.entries(sample.labels).sort()) === wanted) return sample.value;
  return undefined;
}

function readSample(line: string): Reading {
  const match = sampleLine.exec(line);
  if (match === null) throw new Error(`not a sample: ${line}`);
  const labels: Record<string, string> = {};
  const text = match[2] ?? '';
  labelPair.lastIndex = 0;
  while (labelPair.lastIndex < text.length) {
    const pair = labelPair.exec(text);
    if (pair === null) throw new Error(`bad labels: ${line}`);
    const [, name = '', value = ''] = pair;
    if (Object.hasOwn(labels, name)) throw new Error(`a label twice: ${line}`);
    labels[name] = value.replace(/\\(.)/g, (_all, character: string) => (character === 'n' ? '\n' : character));
  }
  return { name: match[1] ?? '', labels, value: readNumber(match[3] ?? '', line) };
}

function readNumber(text: string, line: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  if (/^nan$/i.test(text)) return Number.NaN;
  if (!/^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(text)) throw new Error(`not a number: ${line}`);
  return Number(text);
}

function belongs({ name, value, labels }: Reading, family: { name: string; type: string }, format: Format): boolean {
  switch (family.type) {
    case 'counter':
      return value >= 0 && name === (format === 'openmetrics' ? `${family.name}_total` : family.name);
    case 'histogram':
      if (name === `${family.name}_bucket`) return labels['le'] !== undefined;
      return name === `${family.name}_sum` || name === `${family.name}_count`;
    case 'summary':
      return name === family.name || name === `${family.name}_sum` || name === `${family.name}_count`;
    default:
      return name === family.name;
  }
}

/** Buckets rise in bound and count, the last is +Inf and equals the count, and there is a sum. */
function checkHistogram({ name, samples }: Family): void {
  const series = new Map<string, { buckets: [number, number][]; sum?: number; count?: number }>();
  for (const sample of samples) {
    const { le, ...rest } = sample.labels;
    const key = JSON.stringify(Object.entries(rest).sort());
    const one = series.get(key) ?? { buckets: [] };
    series.set(key, one);
    if (le !== undefined) one.buckets.push([readNumber(le, name), sample.value]);
    else if (sample.name.endsWith('_sum')) one.sum = sample.value;
    else one.count = sample.value;
  }
  for (const [key, { buckets, sum, count }] of series) {
    if (sum === undefined || count === undefined) throw new Error(`${name}${key} has no sum or count`);
    let [bound, below] = [Number.NEGATIVE_INFINITY, 0];
    for (const [le, value] of buckets) {
      if (le <= bound || value < below) throw new Error(`${name}${key} falls at ${le}`);
      [bound, below] = [le, value];
    }
    if (bound !== Number.POSITIVE_INFINITY || below !== count)
      throw new Error(`${name}${key} does not end with its count`);
  }
}
