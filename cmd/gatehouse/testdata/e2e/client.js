// Asks through a proxy over TLS, as Node does: node client.js PROXY < requests.
// A request is a line of JSON: {host, method, path, type, body}. Each answer is a
// line "STATUS BODY"; a failure is "0 WHY".
'use strict';
const http = require('http'), https = require('https'), tls = require('tls');
const [proxyHost, proxyPort] = process.argv[2].split(':');

function tunnel(host) {
  return new Promise((resolve, reject) => {
    const connect = http.request({ host: proxyHost, port: proxyPort, method: 'CONNECT', path: host + ':443' });
    connect.on('error', reject);
    connect.on('response', (answer) => reject(new Error('CONNECT was answered ' + answer.statusCode)));
    connect.on('connect', (answer, socket) => {
      if (answer.statusCode !== 200) return reject(new Error('CONNECT was answered ' + answer.statusCode));
      const secure = tls.connect(require('net').isIP(host) ? { socket, host } : { socket, servername: host }, () => resolve(secure));
      secure.on('error', reject);
    });
    connect.end();
  });
}

async function ask(r) {
  const secure = await tunnel(r.host);
  return new Promise((resolve, reject) => {
    const headers = r.type ? { 'Content-Type': r.type } : {};
    const request = https.request({ host: r.host, port: 443, defaultPort: 443, method: r.method, path: r.path, headers, createConnection: () => secure }, (answer) => {
      let body = '';
      answer.setEncoding('latin1');
      answer.on('data', (piece) => { body += piece; });
      answer.on('end', () => resolve(answer.statusCode + ' ' + JSON.stringify(body)));
    });
    request.on('error', reject);
    request.end(r.body);
  });
}

(async () => {
  for (const line of require('fs').readFileSync(0, 'utf8').split('\n')) {
    if (line) console.log(await ask(JSON.parse(line)).catch((e) => '0 ' + JSON.stringify(String(e))));
  }
  process.exit(0);
})();
