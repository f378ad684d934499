// Only the rules that need types: biome formats and lints everything else.
import tseslint from 'typescript-eslint';

export default tseslint.config({
  files: ['lib/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
  plugins: { '@typescript-eslint': tseslint.plugin },
  languageOptions: {
    parser: tseslint.parser,
    parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
  },
  rules: {
    // tap runs what `t.test` is given; its promise is only for tests that go on inside.
    '@typescript-eslint/no-floating-promises': [
      'error',
      { allowForKnownSafeCalls: [{ from: 'package', package: '@tapjs/test', name: 'test' }] },
    ],
    '@typescript-eslint/no-misused-promises': 'error',
    '@typescript-eslint/await-thenable': 'error',
    '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    '@typescript-eslint/no-unnecessary-type-assertion': 'error',
  },
});
