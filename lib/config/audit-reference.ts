// The part of the reference that says what a record of the audit trail holds, and what the trail proves.

export const auditReference = `### What a record says

\`sql\` is the client's own text, also where the server got another one (masks) and whatever has become of the name it was run under. Of a text that is
refused for its length (over \`statement_memory_limit\`, at most 16 MB) it is the beginning, and \`sql_bytes\` how long it is. \`kinds\`, \`tables\` and \`writes\`
are those of the statement and of what it runs by name: EXECUTE, FETCH, a portal; \`unknown\` beyond \`inspect_limit\`. With a policy \`roles\` are the user's
roles, \`masked\` the columns whose values were replaced. \`portal\` is the name a statement was executed under. Of a cursor that SQL declared \`sql\` is the text of its DECLARE.

What weir cannot see: code in the database (DO, functions) may close a portal or a statement that SQL prepared and make another of its name.
A record of one that was executed behind such code has \`in_doubt\`; one that only such code has made has an empty \`sql\` and its \`portal\`. So has one that was made before the trail was turned on.

Portals, cursors and statements whose texts the trail has to keep may take 16 MB a client; a further one is refused (SQLSTATE 53400).
Where a pipeline has more than 256 kB of statements that are not answered, what follows waits for the answers.

### What the trail proves

Each group of records is sealed with a hash over it and the seal before. \`weir audit verify DIRECTORY\` ends with 1 where a record was changed, added, removed or
put elsewhere, where a file is missing between others, and where the last file of a process has no end: it was cut off, or its process died.
\`--running\` allows that of a trail that is being written.

| what somebody who can write in \`audit_dir\` does | told by |
|---|---|
| changes a record and leaves the seals as they are | \`verify\` |
| cuts off the end, or removes the last file | \`verify\` without \`--running\`; \`--expect SEAL\` |
| puts back an older copy, whole in itself | \`--expect SEAL\` |
| writes all records and seals anew | \`audit_key_file\` with \`--key-file\`, if the key is not his; \`--expect SEAL\` |
| removes everything | \`--expect SEAL\` |

The latest seal of each process stands in the log (at least once a minute while there are records, and at the end), in SHOW AUDIT, and, its first
12 hexadecimal digits as a number, in the metric \`weir_audit_seal\` (\`printf %012x VALUE\`). A seal kept on another machine proves all that was written before it, and
nothing behind it. Without a key and without a seal kept elsewhere, who can write in \`audit_dir\` can write the whole trail anew. Who
can read the key can as well: it is no protection from root on weir's machine. What was written before there was a key is
protected by the first seal with one. Another key is another trail: begin it in another directory.
`;
