import {startDaemon} from './daemon.ts'; import {openMember} from './members.ts'; import {until} from '../support/wait.ts'; import {readFileSync} from 'node:fs';
const listen = process.argv[2]==='listen';
const d = await startDaemon('127.0.3.1', {vip:{listen}});
function smaps(){ const t=readFileSync(`/proc/${d.child.pid}/smaps`,'utf8'); const by=new Map<string,number>(); let name=''; let anonTotal=0; for(const l of t.split('\n')){ const m=/^[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+\s*(.*)$/.exec(l); if(m){ name=(m[2]||'anon')+' '+m[1]; continue;} const r=/^Rss:\s+(\d+)/.exec(l); if(r) by.set(name,(by.get(name)??0)+Number(r[1])); } console.log([...by].sort((a,b)=>b[1]-a[1]).slice(0,8).map(([k,v])=>`${k}: ${(v/1024).toFixed(0)}MB`).join(' | ')); }
console.log('ready', d.readyMs|0, 'idle rss MB', d.rssBytes()/1e6); smaps();
const ms = Array.from({length:10},(_,index)=>openMember({index, serviceCount:1000, daemon:{host:'127.0.3.1',port:7650}}));
const t=performance.now();
await until(async()=>{const s=await d.get('/api/v1/status') as any; return s.view.ready===10000}, {deadlineMs:60000, everyMs:200});
console.log('10000 ready after', performance.now()-t);
await new Promise(r=>setTimeout(r,6000)); console.log('rss MB', d.rssBytes()/1e6); smaps();
for(const m of ms) m.close(); await d.end(); process.exit(0);
