export const style = `
:root{--bg:#eef0f8;--bg2:#f8f4ee;--card:#fff;--ink:#1d2033;--soft:#5d6380;--line:#e4e6f0;--accent:#5b4fd6;--good:#1a7f4e;--busy:#9a6200;--bad:#c22f3d;--idle:#6d7391;--sky:#e6e4fb;--moon:#6c5fe6;--sun:#ec9a12;--warm:#fdf0d5;--alarm:#fbe3e4;--shadow:0 1px 2px #1d20330f,0 18px 48px -16px #1d203333}
@media (prefers-color-scheme:dark){:root{--bg:#0e1020;--bg2:#171430;--card:#191c30;--ink:#eceefb;--soft:#a3a9c8;--line:#2b2f4a;--accent:#a79cff;--good:#5fd39a;--busy:#f2b95c;--bad:#ff8791;--idle:#8f96b8;--sky:#262a4a;--moon:#b9b0ff;--sun:#ffc861;--warm:#3a3020;--alarm:#42232d;--shadow:0 1px 2px #0006,0 24px 60px -20px #000a}}
*{box-sizing:border-box}
html{height:100%}
body{margin:0;min-height:100%;min-height:100dvh;display:grid;place-items:center;padding:1.25rem;background:linear-gradient(160deg,var(--bg),var(--bg2)) fixed;color:var(--ink);font:400 1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{width:100%;max-width:27rem;padding:2.25rem 2rem 2rem;border:1px solid var(--line);border-radius:1.5rem;background:var(--card);box-shadow:var(--shadow);text-align:center}
svg{display:block;margin:0 auto 1.25rem;overflow:visible}
.sky{fill:var(--sky);transition:fill .6s}
[data-mood=ready] .sky{fill:var(--warm)}[data-mood=failed] .sky{fill:var(--alarm)}
.moon{fill:var(--moon)}.stars{fill:var(--moon)}
.sun{fill:var(--sun);stroke:var(--sun);stroke-width:4;stroke-linecap:round}.sun circle{stroke:none}
.mark{fill:none;stroke:var(--bad);stroke-width:6;stroke-linecap:round}
.ring{fill:none;stroke:var(--accent);stroke-width:3;stroke-linecap:round;stroke-dasharray:70 207;transform-origin:48px 48px;opacity:0}
.sun,.mark{opacity:0}
.moon,.sun{transform-origin:48px 48px;transition:opacity .6s,transform .8s}
.sun{transform:translateY(14px) rotate(-40deg)}
[data-mood=ready] .moon,[data-mood=ready] .stars,[data-mood=failed] .moon,[data-mood=failed] .stars{opacity:0}
[data-mood=ready] .sun{opacity:1;transform:none}
[data-mood=failed] .mark{opacity:1}
[data-mood=starting] .ring{opacity:1;animation:turn 1.6s linear infinite}
.stars circle{animation:blink 3s ease-in-out infinite}.stars circle:nth-child(2){animation-delay:1s}.stars circle:nth-child(3){animation-delay:2s}
@keyframes turn{to{transform:rotate(360deg)}}
@keyframes blink{50%{opacity:.2}}
h1{margin:0 0 .4rem;font-size:1.5rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;overflow-wrap:anywhere;text-wrap:balance}
p{margin:0;overflow-wrap:anywhere;text-wrap:pretty}
.text{color:var(--soft);text-wrap:balance}
.bar{height:.375rem;margin:1.25rem 0 0}
.bar:empty{display:none}
progress{display:block;width:100%;height:.375rem;border:0;border-radius:1rem;appearance:none;-webkit-appearance:none;background:var(--line);overflow:hidden;color:var(--accent)}
progress::-webkit-progress-bar{background:var(--line)}
progress::-webkit-progress-value{background:var(--accent);border-radius:1rem;transition:width .5s}
progress::-moz-progress-bar{background:var(--accent);border-radius:1rem}
progress:indeterminate{background:linear-gradient(90deg,var(--line) 30%,var(--accent) 50%,var(--line) 70%) 0 0/220% 100%;animation:slide 1.8s linear infinite}
progress:indeterminate::-webkit-progress-bar{background:transparent}
progress:indeterminate::-moz-progress-bar{background:transparent}
@keyframes slide{from{background-position:110% 0}to{background-position:-110% 0}}
.rows{margin:1.25rem 0 0;padding:0;list-style:none;text-align:left}
.rows:empty{display:none}
.rows li{display:flex;gap:.75rem;align-items:center;padding:.55rem 0;border-top:1px solid var(--line)}
.rows li::before{content:"";flex:none;width:.6rem;height:.6rem;border-radius:50%;background:currentColor}
.rows span{flex:1;min-width:0;color:var(--ink);overflow-wrap:anywhere}
.rows b{font-weight:550;font-size:.875rem}
.good{color:var(--good)}.busy{color:var(--busy)}.bad{color:var(--bad)}.idle{color:var(--idle)}
.busy::before{animation:blink 1.4s ease-in-out infinite}
.do{margin:1.5rem 0 0}
.button{display:inline-block;padding:.6rem 1.4rem;border-radius:2rem;background:var(--accent);color:var(--card);font-weight:600;text-decoration:none}
.button:hover{filter:brightness(1.08)}
.button:focus-visible{outline:3px solid var(--accent);outline-offset:3px}
.hint{margin-top:1.1rem;font-size:.875rem;color:var(--soft)}
.hint:empty{display:none}
.id{display:block;margin-top:.25rem;font:.75rem/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
.since{margin-top:.75rem;font-size:.8125rem;color:var(--soft);font-variant-numeric:tabular-nums}
[data-mood=starting] .since{min-height:1.25rem}
.since:empty{margin:0}
@media (max-width:26rem){main{padding:1.75rem 1.25rem 1.5rem;border-radius:1.25rem}}
@media (prefers-reduced-motion:reduce){*,::before{animation:none!important;transition:none!important}[data-mood=starting] .ring{stroke-dasharray:none;opacity:.35}progress:indeterminate{background:var(--line)}}
@media (forced-colors:active){.rows li::before{forced-color-adjust:none}.button{border:1px solid}}
`;
