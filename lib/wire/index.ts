// The PostgreSQL wire protocol, versions 3.0 to 3.2: tags, splitting, readers, writers. Bytes in, bytes out; never does I/O.

export * from './backend-reader.js';
export * from './backend-writer.js';
export * from './bind-parameters.js';
export * from './frontend-reader.js';
export * from './frontend-writer.js';
export * from './splitter.js';
export * from './startup.js';
export * from './tags.js';
