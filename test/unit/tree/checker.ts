// Checks source texts against the rules of the tree: ranks, cycles, headers, hot files, words that must not appear. Pure: texts in, problems out.

import { dirname, join, normalize } from 'node:path/posix';
import ts from 'typescript';

/** Path from the project's root, with `/`, to text. */
export type Sources = ReadonlyMap<string, string>;

/** A folder of lib imports only folders of lower rank. */
export const ranks: Readonly<Record<string, number>> = {
  util: 0,
  wire: 1,
  sql: 1,
  config: 1,
  auth: 2,
  session: 2,
  policy: 2,
  tls: 2,
  audit: 2,
  metrics: 2,
  net: 2,
  relay: 3,
  server: 4,
  pool: 5,
  client: 6,
  pooler: 7,
  admin: 8,
  http: 8,
  gateway: 8,
  cluster: 9,
  demo: 10,
  cli: 11,
};

/** Files whose code runs for every message. */
export const hotFiles: readonly RegExp[] = [
  /^lib\/wire\/splitter\.ts$/,
  /^lib\/sql\/shape-scanner\.ts$/,
  /^lib\/relay\/[^/]+\.ts$/,
];

export interface Import {
  readonly from: string;
  /** As written, e.g. `../util/index.js`. */
  readonly specifier: string;
  /** Erased by the compiler: it ties folders together, but cannot make a cycle at run time. */
  readonly typeOnly: boolean;
}

export function importsOf(path: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier !== undefined && ts.isStringLiteral(specifier))
      found.push({ from: path, specifier: specifier.text, typeOnly });
  };
  walk(parse(path, text), (node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.isTypeOnly === true);
    if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
  });
  return found;
}

/** Imports of lib that go up or sideways, past an index, out of lib, or to a package that is not a dependency. */
export function rankProblems(sources: Sources, dependencies: ReadonlySet<string>): string[] {
  return libFiles(sources).flatMap(([path, text]) => {
    const folder = folderOf(path);
    if (folder === undefined) return [`${path}: a source file of lib is in a folder of lib`];
    if (ranks[folder] === undefined) return [`${path}: the folder "${folder}" has no rank`];
    return importsOf(path, text).flatMap((one) => importProblems(one, folder, sources, dependencies));
  });
}

function importProblems(one: Import, folder: string, sources: Sources, dependencies: ReadonlySet<string>): string[] {
  const { from, specifier } = one;
  if (!specifier.startsWith('.')) {
    const known = specifier.startsWith('node:') || dependencies.has(packageOf(specifier));
    return known ? [] : [`${from}: "${specifier}" is not a dependency`];
  }
  const target = targetOf(one);
  if (target === undefined || !sources.has(target)) return [`${from}: "${specifier}" names no source file`];
  const other = folderOf(target);
  if (other === folder) return [];
  if (other === undefined) return [`${from}: lib imports only lib, not "${specifier}"`];
  if (!target.endsWith(`/${other}/index.ts`)) return [`${from}: "${specifier}" goes past the index of ${other}`];
  const [rank, otherRank] = [ranks[folder], ranks[other]];
  const below = rank !== undefined && otherRank !== undefined && otherRank < rank;
  return below ? [] : [`${from}: ${folder} (rank ${rank}) may not import ${other} (rank ${otherRank})`];
}

/** Each cycle of run-time imports between files of lib, as `a -> b -> a`. */
export function cycles(sources: Sources): string[] {
  const graph = new Map<string, string[]>();
  for (const [path, text] of libFiles(sources)) {
    const targets = importsOf(path, text)
      .filter((one) => !one.typeOnly && one.specifier.startsWith('.'))
      .map(targetOf);
    graph.set(
      path,
      targets.filter((target) => target !== undefined),
    );
  }
  const found: string[] = [];
  const finished = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) found.push([...trail.slice(start), path].join(' -> '));
    if (start >= 0 || finished.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    finished.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}

/** Files that do not begin with a comment, and folders of lib without an index that says what they do and never do. */
export function headerProblems(sources: Sources): string[] {
  const problems: string[] = [];
  for (const [path, text] of sources) {
    if (path.endsWith('.ts') && !/^(#!.*\n)?\/\/ \S/.test(text))
      problems.push(`${path}: the first line is not a comment`);
  }
  for (const folder of new Set(libFiles(sources).map(([path]) => folderOf(path)))) {
    if (folder === undefined) continue;
    const index = sources.get(`lib/${folder}/index.ts`);
    if (index === undefined) problems.push(`lib/${folder}: there is no index.ts`);
    else if (!/\b(never|no|nothing|not)\b/i.test(headerOf(index))) {
      problems.push(`lib/${folder}/index.ts: the header does not say what the folder never does`);
    }
  }
  return problems;
}

/**
 * What costs too much, or may wait, in code that runs for every message. A line that says why it is rare, in a comment `// cold: ...`
 * at its end, is let pass.
 */
export function hotFileProblems(sources: Sources): string[] {
  const problems: string[] = [];
  for (const [path, text] of sources) {
    if (!hotFiles.some((pattern) => pattern.test(path))) continue;
    const file = parse(path, text);
    const lines = text.split('\n');
    walk(file, (node) => {
      const word = coldWord(node);
      if (word === undefined) return;
      const { line } = file.getLineAndCharacterOfPosition(node.getStart(file));
      if (!/\/\/ cold: \S/.test(lines[line] ?? '')) problems.push(`${path}:${line + 1}: ${word} in a hot file`);
    });
  }
  return problems;
}

function coldWord(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AsyncKeyword) return 'async';
  if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)) return 'await';
  if (ts.isIdentifier(node) && (node.text === 'Promise' || node.text === 'JSON')) return node.text;
  if (!ts.isPropertyAccessExpression(node)) return undefined;
  if (node.name.text === 'toString') return 'toString';
  return node.name.text === 'concat' && ts.isIdentifier(node.expression) && node.expression.text === 'Buffer'
    ? 'Buffer.concat'
    : undefined;
}

/** Texts that tie the project to one person's or one machine's directories. */
export function foreignTexts(sources: Sources, root: string): string[] {
  // One segment (`/app`) could be anything; two are somebody's checkout.
  const rootMatters = root.split('/').length > 2;
  return [...sources].flatMap(([path, text]) => {
    const home = /(?<![\w.*])\/(?:home|Users|root)\/[\w.-]+/.exec(text);
    const own = rootMatters && text.includes(root) ? root : undefined;
    const found = home?.[0] ?? own;
    return found === undefined ? [] : [`${path}: names the directory ${found}`];
  });
}

function libFiles(sources: Sources): [string, string][] {
  return [...sources].filter(([path]) => path.startsWith('lib/') && path.endsWith('.ts'));
}

function folderOf(path: string): string | undefined {
  return /^lib\/([^/]+)\//.exec(path)?.[1];
}

/** The source behind a relative import; undefined when it does not end in `.js`. */
function targetOf({ from, specifier }: Import): string | undefined {
  if (!specifier.endsWith('.js')) return undefined;
  return normalize(join(dirname(from), specifier)).replace(/\.js$/, '.ts');
}

function packageOf(specifier: string): string {
  const parts = specifier.split('/');
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

function headerOf(text: string): string {
  const lines = text.split('\n');
  const end = lines.findIndex((line) => !line.startsWith('//'));
  return lines.slice(0, end < 0 ? lines.length : end).join('\n');
}

function parse(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}
