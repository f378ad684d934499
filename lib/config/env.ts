// Replaces ${NAME} in a text by environment variables; $${ stands for a literal ${.

export type Environment = Readonly<Record<string, string | undefined>>;

export type Expanded = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly message: string };

const reference = /\$\$\{|\$\{([^}]*)(\}?)/g;
const nameForm = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** What a variable holds is taken as it is: it is not expanded again. */
export function expandEnvironment(text: string, env: Environment): Expanded {
  let message: string | null = null;
  const expanded = text.replace(reference, (whole: string, name: string | undefined, close: string | undefined) => {
    if (name === undefined) return '${';
    const value = nameForm.test(name) && Object.hasOwn(env, name) ? env[name] : undefined;
    if (close === '') message ??= 'an unfinished `${`; write `$${` for the characters themselves';
    else if (!nameForm.test(name)) message ??= 'not the name of an environment variable inside the braces';
    else if (value === undefined) message ??= `environment variable ${name} is not set`;
    // Whoever wants nothing there writes nothing: it is the script that should have set it which has failed.
    else if (value === '') message ??= `environment variable ${name} is empty`;
    return value ?? whole;
  });
  return message === null ? { ok: true, text: expanded } : { ok: false, message };
}
