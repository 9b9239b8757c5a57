// talk HOST - for each line of standard input a GET of /word on one connection, kept alive; answers to standard output.
const http = require('http');
const lines = require('readline').createInterface({ input: process.stdin });
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let sockets = 0;
lines.on('line', () => {
    http.get({ host: process.argv[2], path: '/word', agent }, (answer) => {
        answer.pipe(process.stdout, { end: false });
        answer.on('end', () => lines.closed && agent.destroy());
    }).on('error', (error) => {
        console.error(`talk: ${error.code}`);
        process.exitCode = 1;
    }).on('socket', (socket) => {
        sockets += !socket.known;
        socket.known = true;
    });
});
lines.on('close', () => {
    lines.closed = true;
});
process.on('exit', () => console.log(`${sockets} connection`));
