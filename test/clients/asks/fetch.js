// fetch HOST PATH - an HTTP request by node's own means, to standard output.
const http = require('http');
const [host, path] = process.argv.slice(2);
http.get({ host, path, agent: false }, (answer) => answer.pipe(process.stdout).on('error', fail))
    .on('error', fail)
    .on('response', (answer) => answer.on('error', fail));
function fail(error) {
    console.error(`fetch: ${error.code}`);
    process.exitCode = 1;
}
