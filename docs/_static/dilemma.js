// The dilemma of the sampler: scores that the binary loss drives towards, and their noise
// (Yang et al., 2020, Theorem 2), for answers p and draws q in proportion to p ** alpha.
(() => {
  const box = document.getElementById("dilemma");
  if (!box) return;
  const svg = box.querySelector("svg");
  const p = [0.36, 0.2, 0.13, 0.09, 0.07, 0.05, 0.04, 0.03, 0.02, 0.01];
  const T = 300, WIDTH = 640, BARS = 120, TOP = 150, BOTTOM = 300, LEFT = 70;
  const step = (WIDTH - LEFT - 20) / p.length;
  const input = (name) => box.querySelector(`input[name="${name}"]`);
  const show = (name, text) => { box.querySelector(`output[name="${name}"]`).textContent = text; };

  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
  }
  const words = (x, y, text, more = {}) =>
    element("text", { x, y, fill: "currentColor", "font-size": 13, ...more }, text);

  function draw() {
    const alpha = Number(input("alpha").value), k = 2 ** Number(input("k").value);
    const corrected = input("corrected").checked;
    const raised = p.map((x) => x ** alpha), sum = raised.reduce((a, b) => a + b);
    const q = raised.map((x) => x / sum);
    const raw = p.map((x, i) => Math.log(x) - (corrected ? 0 : Math.log(q[i])));
    const middle = raw.reduce((a, b) => a + b) / raw.length;
    const score = raw.map((x) => x - middle);
    const noise = p.map((x, i) => Math.sqrt(Math.max(0, 1 / x - 1 + 1 / (k * q[i]) - 1 / k) / T));
    show("alpha", alpha.toFixed(2));
    show("k", k);
    svg.replaceChildren();

    words(0, 20, "answers p");
    words(0, 38, "draws q", { fill: "var(--pst-color-primary, #0b7285)" });
    words(0, TOP + 20, corrected ? "score, corrected" : "score");
    words(0, TOP + 38, "± its noise", { opacity: 0.7 });
    element("line", { x1: LEFT, x2: WIDTH, y1: BARS, y2: BARS, stroke: "currentColor", opacity: 0.4 });
    const y = (value) => (TOP + BOTTOM) / 2 - Math.max(-3.4, Math.min(3.4, value)) * 24;
    element("line", { x1: LEFT, x2: WIDTH, y1: y(0), y2: y(0), stroke: "currentColor", opacity: 0.25 });
    p.forEach((share, i) => {
      const x = LEFT + i * step + 6, width = (step - 16) / 2, scale = 270, middle = x + width;
      const high = Math.min(q[i], 0.42) * scale;
      element("rect", { x, y: BARS - share * scale, width, height: share * scale, fill: "currentColor", opacity: 0.35 });
      element("rect", { x: x + width + 2, y: BARS - high, width, height: high, fill: "var(--pst-color-primary, #0b7285)" });
      element("line", { x1: middle, x2: middle, y1: y(score[i] - noise[i]), y2: y(score[i] + noise[i]), stroke: "currentColor", "stroke-width": 2, opacity: 0.55 });
      element("circle", { cx: middle, cy: y(score[i]), r: 6, fill: "var(--pst-color-primary, #0b7285)" });
      words(middle, BOTTOM + 24, "abcdefghij"[i], { "text-anchor": "middle" });
    });

    const slope = score[0] - score[p.length - 1];
    const said = corrected
      ? "Corrected, the scores are log p whatever you draw. Only the noise depends on the draws."
      : slope > 0.3
        ? "The scores are in the right order, but closer together than log p if α is above 0."
        : slope > -0.3
          ? "All scores are nearly equal. The model has nothing to rank by."
          : "The order is reversed: likely answers are drawn so often that they end lowest.";
    const at = (i) => noise[i].toFixed(2);
    box.querySelector(".words").textContent = `${said} Noise at the top: ${at(0)}; at the bottom: ${at(9)}.`;
  }

  box.addEventListener("input", draw);
  draw();
})();
