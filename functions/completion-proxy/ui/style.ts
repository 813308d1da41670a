export const style = `
:root{color-scheme:light dark;
--plane:#f6f6f3;--surface:#fff;--ink:#0b0b0b;--soft:#52514e;--line:#e4e3dc;--field:#fff;--accent:#1c5cab;--good:#00660a;--warn:#8a5a00;--bad:#b42a2a;
--good-ground:#e5f4e6;--warn-ground:#fdf3dd;--bad-ground:#fdeaea;--wait:#c9a24a;--flow:#2a78d6;--new:#e6effa;--hover:#f4f4f0}
@media (prefers-color-scheme:dark){:root{
--plane:#0d0d0d;--surface:#1a1a19;--ink:#fafaf7;--soft:#b9b8ae;--line:#2e2e2c;--field:#222220;--accent:#7db2f3;--good:#55c983;--warn:#e5a83a;--bad:#f38d8d;
--good-ground:#15301f;--warn-ground:#2e2612;--bad-ground:#361c1c;--wait:#a98434;--flow:#3f8ae6;--new:#17304d;--hover:#232322}}
*{box-sizing:border-box}
[hidden]{display:none!important}
body{margin:0;background:var(--plane);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 24px 40px;display:grid;gap:16px}
main>*,#top>*{min-width:0}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
h1,h2,h3,p,ul,ol,dl,dd{margin:0;padding:0}
h1{font-size:22px;line-height:1.3;letter-spacing:-.01em}
h1 small{font-size:15px;font-weight:400;color:var(--soft);margin-left:6px;letter-spacing:0}
h2{font-size:15px;font-weight:600}
h2 b{font-weight:600;color:var(--accent);margin-left:4px}
h3{font-size:13px;font-weight:600;color:var(--soft);margin-bottom:6px}
small{font-size:12.5px;color:var(--soft)}
code,pre{font:12.5px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.soft{color:var(--soft)}.good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}
header{display:flex;flex-wrap:wrap;gap:2px 20px;align-items:baseline}
header h1{margin-right:auto}
#who{color:var(--soft);font-size:14px}#who b{color:var(--ink);font-weight:600;overflow-wrap:anywhere}
#live{font-size:14px;display:flex;gap:8px;align-items:center;padding:2px 12px 2px 10px;border-radius:20px;background:var(--line);color:var(--soft)}
#live i{width:9px;height:9px;border-radius:50%;background:currentColor;flex:none}
#live.on{background:var(--good-ground);color:var(--good)}#live.on i{animation:beat 2.4s ease-in-out infinite}
#live.cut{background:var(--bad-ground);color:var(--bad)}
@keyframes beat{50%{opacity:.3}}
#top{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:16px}
section#flight,section#health,section#past{background:var(--surface);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
#top ul{list-style:none;margin-top:8px;max-height:250px;overflow:auto}
#top li{display:flex;flex-wrap:wrap;gap:0 12px;align-items:baseline;padding:6px 0;border-top:1px solid var(--line);color:var(--ink)}
#top li:first-child{border:0}
#top li::before{content:"";flex:none;width:9px;height:9px;border-radius:50%;background:var(--soft);align-self:center}
#top li.nothing{color:var(--soft)}#top li.nothing::before{display:none}
#top li.good::before{background:var(--good)}#top li.warn::before{background:var(--warn);border-radius:2px}#top li.bad::before{background:var(--bad);border-radius:2px}
#top li.asked::before{background:var(--wait);animation:beat 1.2s ease-in-out infinite}#top li.flows::before{background:var(--flow);animation:beat 1.2s ease-in-out infinite}
.model,.name{font-weight:600;overflow-wrap:anywhere;unicode-bidi:isolate}.model small,.name small{font-weight:400;margin-left:8px}
.state{color:var(--soft);font-size:14px;flex:1;min-width:10em}
li.warn .state{color:var(--warn)}li.bad .state{color:var(--bad)}
.since,.load{font-variant-numeric:tabular-nums;font-size:14px;margin-left:auto}
.stale #top ul{opacity:.45}
.head{display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline;justify-content:space-between;margin-bottom:12px}
#sum{color:var(--soft);font-size:13.5px;font-variant-numeric:tabular-nums}
form,#fields{display:flex;flex-wrap:wrap;gap:8px;align-items:center}
form{margin-bottom:12px}#fields{flex:1 1 34em}
input,select,button{font:inherit;font-size:14px;color:inherit;background:var(--field);border:1px solid var(--line);border-radius:8px;padding:6px 10px;min-width:0;min-height:36px}
input::placeholder{color:var(--soft);opacity:1}
input:invalid{border-color:var(--bad)}
button{cursor:pointer}
[type=search]{flex:1 1 15em}[name=model],[name=caller]{flex:1 1 8em;width:8em}[name=status]{width:5em}
#more{display:none}
table{width:100%;border-collapse:collapse;font-size:14px}
th{font-weight:500;font-size:12.5px;color:var(--soft);text-align:left;padding:4px 14px 6px 0;white-space:nowrap}
td{padding:8px 14px 8px 0;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere;unicode-bidi:isolate}
th:last-child,td:last-child{padding-right:4px}th:first-child,td:first-child{padding-left:4px}
td.model small,td small{display:block;margin:0}.end small{display:inline}
.n{text-align:right}td.n,td.when,td.time{font-variant-numeric:tabular-nums;white-space:nowrap}
td.end{white-space:nowrap}td b{font-weight:500}td.model{font-weight:600}td.model small,td.end small{font-weight:400}td b.bad{font-weight:600}
tbody tr{cursor:pointer}tbody tr:hover{background:var(--hover)}
tr.new{animation:come 2.5s ease-out}
@keyframes come{from{background:var(--new)}}
td.time span:last-child{font-size:13px;color:var(--soft)}
.bar{display:inline-flex;width:90px;height:6px;margin-right:10px;vertical-align:middle;border-radius:3px;background:var(--line);overflow:hidden}
.bar i,.timing i,.legend i{display:block}.wait{background:var(--wait)}.flow{background:var(--flow)}
nav{display:flex;gap:16px;margin-top:12px}nav span{flex:1}
nav a{padding:6px 2px}
.note{padding:14px 16px;border-radius:8px;background:var(--plane);color:var(--soft);overflow-wrap:anywhere}
.note.bad{background:var(--bad-ground);color:var(--bad);margin-bottom:12px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:8px 0 0;padding:12px 14px;background:var(--plane);border:1px solid var(--line);border-radius:8px;max-height:24em;overflow:auto;color:var(--ink)}
#foot{font-size:12.5px;color:var(--soft)}
dialog{width:min(640px,100vw);max-width:none;height:100dvh;max-height:none;margin:0 0 0 auto;padding:0 24px 32px;border:0;border-left:1px solid var(--line);background:var(--surface);color:var(--ink);overflow:auto}
dialog::backdrop{background:#0007}
dialog h2:focus{outline:0}
dialog .top{position:sticky;top:0;display:flex;gap:16px;justify-content:space-between;align-items:start;background:var(--surface);padding:20px 0 12px;border-bottom:1px solid var(--line);margin-bottom:16px}
dialog h2{font-size:20px;overflow-wrap:anywhere;unicode-bidi:isolate}
.how{color:var(--ink)}.how.good b{color:var(--good)}.how.warn b{color:var(--warn)}.how.bad b{color:var(--bad)}
.close{border:0;background:none;font-size:16px;min-width:40px;min-height:40px;margin:-4px -8px 0 0}
dialog section{margin-bottom:22px}
dialog pre{margin:0 0 16px}details pre{margin-top:10px}
summary{cursor:pointer;color:var(--accent);padding:4px 0}
.timing{display:flex;height:18px;border-radius:5px;overflow:hidden;background:var(--line)}
.legend{display:flex;flex-wrap:wrap;gap:2px 6px;align-items:center;font-size:12.5px;color:var(--soft);margin:6px 0 12px}
.legend i{width:10px;height:10px;border-radius:2px}.legend i.flow{margin-left:10px}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px 18px}
.facts.wide{grid-template-columns:minmax(0,1fr);gap:6px}.wide div{display:grid;grid-template-columns:130px minmax(0,1fr);align-items:baseline}
dt{font-size:12.5px;color:var(--soft)}dd{font-weight:500;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}dd small{display:block;font-weight:400}
dd code{font-weight:400}
.attempts{list-style:none}.attempts li{padding:3px 0}.attempts b{color:var(--ink);font-weight:500}
@media (max-width:820px){
main{padding:16px 14px 32px;gap:12px}#top{grid-template-columns:minmax(0,1fr);gap:12px}section#flight,section#health,section#past{padding:14px}
header h1{width:100%}#who{margin-right:auto}
#more{display:block}#fields{display:none;flex-basis:100%}.open #fields{display:flex}[type=search]{flex:1 1 8em}
input,select,button{font-size:16px;min-height:42px}#fields select{flex:1 1 9em}
table,tbody{display:block}thead{display:none}
#top .state{order:3;flex:1 1 100%}
tbody tr{display:grid;grid-template:"model model when" "end end cost" "caller backend tokens" "time time time"/auto minmax(0,1fr) auto;gap:1px 10px;align-items:baseline;padding:11px 0;border-top:1px solid var(--line)}
td{border:0;padding:0!important}
td.model{grid-area:model}td.when{grid-area:when;text-align:right}td.end{grid-area:end}td.cost{grid-area:cost}td.caller{grid-area:caller}td.backend{grid-area:backend}td.tokens{grid-area:tokens}
[data-admin=false] td.backend{grid-column:1/3}
td.time{grid-area:time;display:flex;align-items:center}td.time .bar{flex:1}
td.caller,td.backend,td.tokens{font-size:13px;color:var(--soft)}td.backend small{display:inline;margin-left:8px}
td.caller+td.backend::before{content:"at "}td.tokens::after{content:" tokens"}
#empty pre{font-size:12px}
dialog{border:0;padding:0 16px 32px}.facts{grid-template-columns:repeat(2,minmax(0,1fr))}.wide div{grid-template-columns:110px minmax(0,1fr)}
}
@media (prefers-reduced-motion:reduce){*,::before{animation:none!important}}
@media (forced-colors:active){.bar i,.timing i,#top li::before,#live i{forced-color-adjust:none}}
`;
