const dark = `
--plane:#0d0d0d;--surface:#1a1a19;--ink:#fff;--soft:#c3c2b7;--muted:#93918a;--line:#2c2c2a;--base:#4a4a46;--field:#222220;
--accent:#6ba6ee;--accent-ground:#17304d;--good:#3fbf6f;--warn:#e5a83a;--bad:#f08080;--warn-ground:#2e2612;--bad-ground:#331a1a;
--c0:#3987e5;--c1:#199e70;--c2:#c98500;--c3:#9085e9;--c4:#e66767;--c5:#d55181;--c6:#d95926;--c7:#6f6e69;`;

/** One sheet for the page, the statement and the errors: light and dark, phone and desk, print. */
export const style = `
:root{color-scheme:light dark;
--plane:#f6f6f3;--surface:#fff;--ink:#0b0b0b;--soft:#52514e;--muted:#74726d;--line:#e4e3dc;--base:#b9b8af;--field:#fff;
--accent:#1c5cab;--accent-ground:#e6effa;--good:#006300;--warn:#8a5a00;--bad:#b42a2a;--warn-ground:#fdf3dd;--bad-ground:#fdeaea;
--c0:#2a78d6;--c1:#1baf7a;--c2:#eda100;--c3:#4a3aa7;--c4:#e34948;--c5:#e87ba4;--c6:#eb6834;--c7:#a3a199}
@media (prefers-color-scheme:dark){:root{${dark}}}
*{box-sizing:border-box}
body{margin:0;background:var(--plane);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 24px 48px;display:grid;gap:18px}
main>*{min-width:0}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
h1{font-size:22px;line-height:1.3;margin:0;letter-spacing:-.01em}
h2{font-size:15px;margin:0;font-weight:600}
header{display:flex;flex-wrap:wrap;gap:4px 20px;align-items:baseline;justify-content:space-between}
nav{display:flex;gap:18px;font-size:14px}
.soft{color:var(--soft)}.muted{color:var(--muted);font-size:13px}
.card{background:var(--surface);border:1px solid var(--line);border-radius:12px;padding:18px 20px}
.head{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:2px 16px;margin-bottom:10px}
.tiles{display:grid;grid-template-columns:repeat(3,1fr);gap:18px}
.tile b{display:block;font-size:30px;line-height:1.25;font-weight:600;letter-spacing:-.02em}
.tile span{color:var(--soft);font-size:13px}
.picker{display:flex;flex-wrap:wrap;gap:10px 14px;align-items:center;justify-content:space-between}
.chips{display:flex;flex-wrap:wrap;gap:6px}
.chips a,.chips span{padding:5px 12px;border-radius:999px;border:1px solid var(--line);background:var(--surface);color:var(--soft);font-size:14px}
.chips a:hover{border-color:var(--base);text-decoration:none;color:var(--ink)}
.chips a[aria-current]{background:var(--accent-ground);border-color:transparent;color:var(--accent);font-weight:600}
form{display:flex;flex-wrap:wrap;gap:8px;align-items:center;font-size:14px;color:var(--soft);margin:0}
input,select,button{font:inherit;color:var(--ink);background:var(--field);border:1px solid var(--line);border-radius:8px;padding:5px 9px;min-height:34px}
button{cursor:pointer;font-weight:600}button:hover{border-color:var(--base)}
.note{border-radius:10px;padding:12px 16px;background:var(--warn-ground);color:var(--ink);border:1px solid transparent;font-size:14px}
.note b{color:var(--warn)}.note p{margin:2px 0 0}.note.bad{background:var(--bad-ground)}.note.bad b{color:var(--bad)}
.charts{position:relative}
.chart{display:block;width:100%;height:auto;overflow:visible}
.chart text{font-size:12px;fill:var(--muted);font-variant-numeric:tabular-nums}
.narrow{display:none}
.grid{stroke:var(--line)}.base{stroke:var(--base)}.hit{fill:transparent}
.col.on .hit{fill:var(--line);opacity:.6}
${Array.from({ length: 8 }, (_, at) => `.s${at}{fill:var(--c${at})}.d${at}{background:var(--c${at})}`).join('')}
.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:7px;flex:none}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;list-style:none;margin:12px 0 0;padding:0;font-size:13px}
.legend li{display:flex;align-items:center;max-width:100%}.legend b{font-weight:600;margin-left:8px;font-variant-numeric:tabular-nums}
#tip{position:absolute;z-index:1;pointer-events:none;background:var(--surface);border:1px solid var(--base);border-radius:10px;padding:9px 12px;font-size:13px;box-shadow:0 6px 24px #0003;max-width:min(300px,90%)}
#tip>*{display:block;overflow-wrap:anywhere}#tip b{font-weight:500;color:var(--soft)}#tip strong{font-size:16px;margin-bottom:3px}
#tip[hidden]{display:none}
.two{display:grid;grid-template-columns:1fr 1fr;gap:18px;align-items:start}
.two>*{min-width:0;display:grid;gap:18px}
table{width:100%;border-collapse:collapse;font-size:14px}
th{font-size:12px;color:var(--muted);font-weight:500;text-align:right;padding:4px 0 6px 12px;white-space:nowrap}
td{border-top:1px solid var(--line);padding:7px 0 7px 12px;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal;overflow-wrap:anywhere;width:99%}
td small{display:block;color:var(--muted);font-size:12px}
tfoot td{font-weight:600}
.share{display:block;width:100%;height:4px;margin-top:4px}.share .track{fill:var(--line)}.share .fill{fill:var(--c0)}
.scroll{overflow-x:auto}
details{margin-top:12px;font-size:14px}summary{cursor:pointer;color:var(--soft);font-size:13px;width:fit-content}
details[open] summary{margin-bottom:8px}
.budgets{list-style:none;margin:0;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:18px 28px}
.budgets .top{display:flex;justify-content:space-between;gap:12px;font-size:14px}
.budgets .top b{font-weight:600;overflow-wrap:anywhere}.budgets .state{white-space:nowrap;font-weight:600;font-size:13px}
.meter{display:block;width:100%;height:10px;margin:6px 0 5px}
.meter .track{fill:var(--line)}.meter .tick{stroke:var(--surface);stroke-width:2}
.meter .fill{fill:var(--c0)}.warning .meter .fill{fill:var(--c2)}.over .meter .fill{fill:var(--c4)}
.ok .state{color:var(--good)}.warning .state{color:var(--warn)}.over .state{color:var(--bad)}.unknown .state{color:var(--muted)}
footer{font-size:13px;color:var(--muted)}footer p{margin:2px 0}
code{font:12px/1.4 ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
.facts{margin:12px 0 0}.facts{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;font-size:14px}.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}
@media (max-width:720px){
main{padding:18px 14px 36px;gap:14px}.card{padding:14px 15px}
.tiles{gap:10px;grid-template-columns:1fr 1fr}.tile:first-child{grid-column:1/-1}.tile b{font-size:24px}
.wide{display:none}.narrow{display:block}.two,.two>*{grid-template-columns:minmax(0,1fr);gap:14px}
.picker form{width:100%}.picker label{flex:1 1 40%;display:flex;gap:6px;align-items:center}.picker input{flex:1;min-width:0;padding:5px}
.chips a{padding:7px 13px}
.optional{display:none}}
@media print{:root{--plane:#fff}main{max-width:none;padding:0}.picker,nav,form,#tip{display:none}.card{break-inside:avoid-page;border-color:#ccc}}
`;
