// LISTEN and UNLISTEN as statements of weir's own, for channels whose names are bytes as latin1 strings.

function quoted(channel: string): string {
  return `"${channel.replaceAll('"', '""')}"`;
}

/** Listens on all of them, in one Query. */
export function listenTo(channels: readonly string[]): string {
  return channels.map((channel) => `LISTEN ${quoted(channel)}`).join(';');
}

export function unlistenFrom(channel: string): string {
  return `UNLISTEN ${quoted(channel)}`;
}
