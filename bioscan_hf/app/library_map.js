// Draws the points of a library, and lets somebody move, zoom, look at their names, and choose one.
const RADIUS = 3.4, MARGIN = 16, BUTTONS = 36, MOST = 60, NEAR = 9, STILL = 5;
const canvas = element.querySelector("canvas");
const tip = element.querySelector(".tip");
const legend = element.querySelector(".legend");
const context = canvas.getContext("2d");
const fingers = new Map();
let points = null, view = null, waiting = false, asked = false, counting = 0, moved = 0;
// A point lies at `fit` on the whole map, and at fit * zoom + shift on the canvas.
let zoom = 1, shift = [0, 0], fit = null;

function read() {
  const former = view;
  points = props.value ? JSON.parse(props.value) : null;
  view = props.view ? JSON.parse(props.view) : null;
  if (points) count(0);
  // Others are meant now: they may lie elsewhere.
  if (former && view && former.meant.join("") !== view.meant.join("")) [zoom, shift] = [1, [0, 0]];
  showLegend();
  redraw();
}

// Tells how long the layout takes already, from the first second on; 0 ends it.
function count(seconds) {
  const text = element.querySelector(".waiting");
  text.hidden = !seconds;
  text.querySelector("span").textContent = `${seconds} s`;
  clearTimeout(counting);
  if (asked && !points) counting = setTimeout(() => count(seconds + 1), 1000);
}

function showLegend() {
  legend.replaceChildren(...(view ? view.legend : []).map(([name, colour, count]) => {
    const [item, dot, number] = ["li", "i", "b"].map((tag) => document.createElement(tag));
    dot.style.background = colour;
    number.textContent = count.toLocaleString("en");
    item.append(dot, name, number);
    return item;
  }));
}

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function measure() {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [wide, high] = [Math.max(...points.x, 1), Math.max(...points.y, 1)];
  const scale = Math.min((width - 2 * MARGIN - BUTTONS) / wide, (height - 2 * MARGIN) / high);
  const [left, top] = [(width - BUTTONS - wide * scale) / 2, (height - high * scale) / 2];
  fit = points.x.map((x, i) => [left + x * scale, top + points.y[i] * scale]);
}

const at = (i) => [fit[i][0] * zoom + shift[0], fit[i][1] * zoom + shift[1]];

function draw() {
  const [width, height, dense] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
  if (!width) return;
  canvas.width = width * dense;
  canvas.height = height * dense;
  context.scale(dense, dense);
  canvas.style.touchAction = zoom > 1 ? "none" : "pan-y";
  if (!points || !view) return;
  measure();
  const ink = getComputedStyle(element).color;
  const size = RADIUS * Math.min(2.2, Math.sqrt(zoom));
  const dot = (i, radius) => {
    context.beginPath();
    context.arc(...at(i), radius, 0, 2 * Math.PI);
  };
  // Those that are meant lie on top, and those with a colour above the others.
  const order = points.x.map((_, i) => i);
  const height_of = (i) => 2 * view.meant[i] + (view.colours[i] >= 0);
  order.sort((one, other) => height_of(one) - height_of(other));
  for (const i of order) {
    const colour = view.colours[i];
    context.globalAlpha = view.meant[i] ? 0.85 : 0.22;
    context.fillStyle = view.meant[i] && colour >= 0 ? view.legend[colour][1] : view.other;
    dot(i, view.meant[i] ? size : 0.8 * size);
    context.fill();
  }
  context.globalAlpha = 1;
  if (view.selected >= 0) {
    const colour = view.colours[view.selected];
    context.fillStyle = colour >= 0 ? view.legend[colour][1] : view.other;
    context.strokeStyle = ink;
    context.lineWidth = 2.5;
    dot(view.selected, size + 3);
    context.fill();
    context.stroke();
  }
}

function nearest([x, y], reach) {
  let best = -1, least = reach * reach;
  for (let i = 0; fit && i < fit.length; i++) {
    const [a, b] = at(i);
    const distance = (a - x) ** 2 + (b - y) ** 2 + (view.meant[i] ? 0 : 16);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function zoomBy(factor, [x, y]) {
  const former = zoom;
  zoom = Math.min(MOST, Math.max(1, zoom * factor));
  moveTo([x - (x - shift[0]) * zoom / former, y - (y - shift[1]) * zoom / former]);
  return zoom !== former;
}

// The map covers the canvas, wherever it is moved to.
function moveTo([x, y]) {
  const within = (value, length) => Math.min(0, Math.max(length * (1 - zoom), value));
  shift = [within(x, canvas.clientWidth), within(y, canvas.clientHeight)];
  tip.hidden = true;
  redraw();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function showTip(spot) {
  const found = nearest(spot, NEAR);
  canvas.classList.toggle("over", found >= 0);
  tip.hidden = found < 0;
  if (found < 0) return;
  tip.textContent = points.names[points.named[found]];
  const [x, y] = at(found);
  const left = Math.min(x + 10, canvas.clientWidth - tip.offsetWidth - 4);
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${y > 40 ? y - tip.offsetHeight - 8 : y + 12}px`;
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, place(event));
  moved = fingers.size > 1 ? Infinity : 0;
});
canvas.addEventListener("pointermove", (event) => {
  const [spot, former] = [place(event), fingers.get(event.pointerId)];
  if (!former) return showTip(spot);
  const [dx, dy] = [spot[0] - former[0], spot[1] - former[1]];
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  fingers.set(event.pointerId, spot);
  moved += Math.hypot(dx, dy);
  if (other) {
    const apart = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
    zoomBy(apart(spot) / apart(former), [(spot[0] + other[0]) / 2, (spot[1] + other[1]) / 2]);
  } else if (moved > STILL) {
    canvas.classList.add("moving");
    moveTo([shift[0] + dx, shift[1] + dy]);
  }
});
canvas.addEventListener("pointerup", (event) => {
  if (fingers.delete(event.pointerId) && moved <= STILL && points) {
    const found = nearest(place(event), event.pointerType === "mouse" ? NEAR : 2 * NEAR);
    if (found >= 0) trigger("point", { place: found });
  }
  canvas.classList.remove("moving");
});
canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
canvas.addEventListener("wheel", (event) => {
  // Where the map cannot get smaller, the page is scrolled.
  if (zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), place(event))) event.preventDefault();
}, { passive: false });
element.querySelector(".zoom").addEventListener("click", (event) => {
  const factor = event.target.dataset.zoom;
  if (factor !== undefined) zoomBy(Number(factor), [canvas.clientWidth / 2, canvas.clientHeight / 2]);
});
new ResizeObserver(() => {
  // In a tab that nobody has opened, the canvas has no width.
  if (canvas.clientWidth && !asked && !props.value) {
    asked = true;
    trigger("opened");
    count(0);
  }
  zoomBy(1, [0, 0]);
}).observe(canvas);
watch(["value", "view"], read);
read();
