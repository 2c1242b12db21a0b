// The map: streets and blocks from city.json, drawn once, and the drivers that move over them.

const METRES_PER_DEGREE = 111_195;
// What the map always shows, in blocks: all routes and a margin.
const VIEW = { left: -3.2, right: 12.2, bottom: -1.8, top: 9 };
const STREET_M = 20;
const WIDE_M = 46;
const CHAMFER_M = 20;
const TRAIL_MS = 14_000;
// Half of the usual frames: cars creep, and messages should not wait for drawing on a machine without a GPU.
const FRAME_MS = 25;

class CityMap {
  constructor(canvas, city) {
    this.canvas = canvas;
    this.city = city;
    this.cars = new Map();
    this.colours = new Map();
    this.pickup = undefined;
    this.assigned = undefined;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.streets = element("streets");
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.resize());
    this.drawnAt = 0;
    const frame = (now) => {
      if (now - this.drawnAt > FRAME_MS) {
        this.drawnAt = now;
        this.draw();
      }
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  // Degrees to metres on the grid: x along the rows, y up the columns. The sea is at the bottom, as on the city's own maps.
  toGrid({ lat, lng }) {
    const { origin, bearing_deg } = this.city;
    const bearing = (bearing_deg * Math.PI) / 180;
    const north = (lat - origin.lat) * METRES_PER_DEGREE;
    const east = (lng - origin.lng) * METRES_PER_DEGREE * Math.cos((origin.lat * Math.PI) / 180);
    return { x: east * Math.sin(bearing) + north * Math.cos(bearing), y: north * Math.sin(bearing) - east * Math.cos(bearing) };
  }

  toDegrees({ x, y }) {
    const { origin, bearing_deg } = this.city;
    const bearing = (bearing_deg * Math.PI) / 180;
    const east = x * Math.sin(bearing) - y * Math.cos(bearing);
    const north = x * Math.cos(bearing) + y * Math.sin(bearing);
    const perLng = METRES_PER_DEGREE * Math.cos((origin.lat * Math.PI) / 180);
    return { lat: origin.lat + north / METRES_PER_DEGREE, lng: origin.lng + east / perLng };
  }

  toScreen({ x, y }) {
    return [this.left + x * this.scale, this.top - y * this.scale];
  }

  // The crossing nearest to a point of the canvas, with its name.
  crossingAt(left, top) {
    const block = this.city.block_m;
    const within = (value, names) => {
      const all = Object.keys(names).map(Number);
      return Math.min(Math.max(...all), Math.max(Math.min(...all), Math.round(value)));
    };
    const column = within((left - this.left) / this.scale / block, this.city.columns);
    const row = within((this.top - top) / this.scale / block, this.city.rows);
    return this.crossing(column, row);
  }

  crossing(column, row) {
    const block = this.city.block_m;
    const name = `${this.city.rows[row]} / ${this.city.columns[column]}`;
    return { name, ...this.toDegrees({ x: column * block, y: row * block }) };
  }

  // Takes a driver's message; the car glides to the new place until the next one is due.
  move(id, name, colour, message) {
    const to = this.toGrid(message);
    const now = performance.now();
    const car = this.cars.get(id);
    if (!car) {
      this.cars.set(id, { name, colour, from: to, to, at: now, every: 250, heading: message.heading, trail: [] });
      return;
    }
    const far = Math.hypot(to.x - car.to.x, to.y - car.to.y) > 150;
    car.every = Math.min(1_000, Math.max(50, car.every * 0.8 + (now - car.at) * 0.2));
    car.from = far ? to : this.place(car, now);
    car.to = to;
    car.at = now;
    car.heading = message.heading;
    if (far) car.trail = [];
    car.trail.push({ ...to, at: now });
    while (now - car.trail[0].at > TRAIL_MS) car.trail.shift();
  }

  // A driver whose stream is down stays where it was seen last, pale.
  setLive(id, isLive) {
    const car = this.cars.get(id);
    if (car) car.isPale = !isLive;
  }

  place(car, now) {
    const share = this.still.matches ? 1 : Math.min(1, (now - car.at) / (car.every * 1.15));
    return { x: car.from.x + (car.to.x - car.from.x) * share, y: car.from.y + (car.to.y - car.from.y) * share };
  }

  // Metres from a driver to a place, as the crow flies.
  distance(id, place) {
    const car = this.cars.get(id);
    if (!car) return undefined;
    const { x, y } = this.toGrid(place);
    return Math.hypot(car.to.x - x, car.to.y - y);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0 || height === 0) return;
    const dots = window.devicePixelRatio || 1;
    const block = this.city.block_m;
    Object.assign(this, { width, height, dots });
    this.scale = Math.min(width / (VIEW.right - VIEW.left), height / (VIEW.top - VIEW.bottom)) / block;
    this.left = width / 2 - ((VIEW.left + VIEW.right) / 2) * block * this.scale;
    this.top = height / 2 + ((VIEW.top + VIEW.bottom) / 2) * block * this.scale;
    for (const canvas of [this.canvas, this.streets]) {
      canvas.width = Math.round(width * dots);
      canvas.height = Math.round(height * dots);
    }
    this.colours.clear();
    this.drawStreets();
  }

  // A colour of the style sheet, looked up once per theme.
  colour(name) {
    if (!this.colours.has(name)) {
      this.colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
    }
    return this.colours.get(name);
  }

  drawStreets() {
    const pen = this.streets.getContext("2d");
    pen.setTransform(this.dots, 0, 0, this.dots, 0, 0);
    pen.fillStyle = this.colour("map-road");
    pen.fillRect(0, 0, this.width, this.height);
    const block = this.city.block_m;
    this.drawAvenues(pen);
    const columns = [Math.floor(-this.left / this.scale / block) - 1, Math.ceil((this.width - this.left) / this.scale / block)];
    const rows = [Math.floor((this.top - this.height) / this.scale / block) - 1, Math.ceil(this.top / this.scale / block)];
    for (let column = columns[0]; column <= columns[1]; column++) {
      for (let row = rows[0]; row <= rows[1]; row++) this.drawBlock(pen, column, row);
    }
    this.drawDiagonal(pen);
    this.drawPlaces(pen);
    this.drawNames(pen);
  }

  drawAvenues(pen) {
    const { block_m: block, wide } = this.city;
    const width = WIDE_M * this.scale;
    pen.fillStyle = this.colour("map-avenue");
    for (const row of wide.rows) pen.fillRect(0, this.top - row * block * this.scale - width / 2, this.width, width);
    for (const column of wide.columns) pen.fillRect(this.left + column * block * this.scale - width / 2, 0, width, this.height);
  }

  // One block between four crossings: its corners cut, a courtyard inside.
  drawBlock(pen, column, row) {
    const { block_m: block, wide, places } = this.city;
    const half = (list, at) => (list.includes(at) ? WIDE_M : STREET_M) / 2;
    const box = {
      left: column * block + half(wide.columns, column), right: (column + 1) * block - half(wide.columns, column + 1),
      bottom: row * block + half(wide.rows, row), top: (row + 1) * block - half(wide.rows, row + 1),
    };
    const place = places.find(({ at, kind }) => kind !== "circle" && at[0] === column + 0.5 && at[1] === row + 0.5);
    this.octagon(pen, box, CHAMFER_M);
    pen.fillStyle = this.colour(place ? `map-${place.kind}` : "map-block");
    pen.fill();
    if (place) return;
    const inset = 25;
    this.octagon(pen, { left: box.left + inset, right: box.right - inset, bottom: box.bottom + inset, top: box.top - inset }, 8);
    pen.fillStyle = this.colour("map-court");
    pen.fill();
  }

  octagon(pen, { left, right, bottom, top }, cut) {
    const corners = [[left + cut, bottom], [right - cut, bottom], [right, bottom + cut], [right, top - cut],
      [right - cut, top], [left + cut, top], [left, top - cut], [left, bottom + cut]];
    pen.beginPath();
    for (const [x, y] of corners) pen.lineTo(...this.toScreen({ x, y }));
    pen.closePath();
  }

  drawDiagonal(pen) {
    const ends = this.city.diagonal.map(([column, row]) => this.toScreen({ x: column * this.city.block_m, y: row * this.city.block_m }));
    pen.beginPath();
    pen.moveTo(...ends[0]);
    pen.lineTo(...ends[1]);
    for (const [colour, width] of [["map-road", WIDE_M + 14], ["map-avenue", WIDE_M - 6]]) {
      pen.strokeStyle = this.colour(colour);
      pen.lineWidth = width * this.scale;
      pen.stroke();
    }
  }

  drawPlaces(pen) {
    for (const { name, at, kind } of this.city.places) {
      const [x, y] = this.toScreen({ x: at[0] * this.city.block_m, y: at[1] * this.city.block_m });
      if (kind === "circle") {
        for (const [radius, colour] of [[62, "map-avenue"], [38, "map-park"]]) {
          pen.beginPath();
          pen.arc(x, y, radius * this.scale, 0, 2 * Math.PI);
          pen.fillStyle = this.colour(colour);
          pen.fill();
        }
      }
      if (kind === "landmark" && this.scale * this.city.block_m > 45 && x > 40 && x < this.width - 40) {
        pen.font = "600 10.5px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillStyle = this.colour("ink");
        name.split(" ").forEach((word, index, words) => pen.fillText(word, x, y + (index - (words.length - 1) / 2) * 12));
      }
    }
  }

  // Names of the wide streets, written along them where there is room.
  drawNames(pen) {
    const size = Math.min(12, WIDE_M * this.scale * 0.62);
    if (size < 7) return;
    const block = this.city.block_m;
    const { columns, rows, wide, diagonal } = this.city;
    const write = (text, x, y, angle) => {
      pen.save();
      pen.translate(...this.toScreen({ x: x * block, y: y * block }));
      pen.rotate(angle);
      pen.fillText(text, 0, 0);
      pen.restore();
    };
    pen.font = `500 ${size}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillStyle = this.colour("map-label");
    for (const row of wide.rows) for (const at of [-1.5, 7.5]) write(rows[row], at, row, 0);
    for (const column of wide.columns) write(columns[column], column, column === 0 ? 2 : 1.5, -Math.PI / 2);
    const [from, to] = diagonal;
    const slope = (to[1] - from[1]) / (to[0] - from[0]);
    for (const column of [3.5, 8.5]) write("Avinguda Diagonal", column, from[1] + (column - from[0]) * slope, Math.atan(-slope));
  }

  draw() {
    if (!this.scale) return;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(this.dots, 0, 0, this.dots, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const now = performance.now();
    for (const car of this.cars.values()) this.drawTrail(pen, car, now);
    if (this.pickup) this.drawPickup(pen, now);
    for (const car of this.cars.values()) this.drawCar(pen, car, now);
  }

  drawTrail(pen, car, now) {
    pen.lineCap = "round";
    pen.lineWidth = Math.max(3, 12 * this.scale);
    pen.strokeStyle = this.colour(car.colour);
    const points = [...car.trail.slice(0, -1), this.place(car, now)];
    for (let index = 1; index < points.length; index++) {
      pen.globalAlpha = 0.5 * Math.max(0, 1 - (now - (points[index].at ?? now)) / TRAIL_MS) ** 1.5;
      pen.beginPath();
      pen.moveTo(...this.toScreen(points[index - 1]));
      pen.lineTo(...this.toScreen(points[index]));
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  drawCar(pen, car, now) {
    const [x, y] = this.toScreen(this.place(car, now));
    const size = 9;
    pen.save();
    pen.globalAlpha = car.isPale ? 0.45 : 1;
    pen.translate(x, y);
    pen.save();
    // Headings count from north; on this map north is `bearing` to the left of the rows' direction, which points right.
    pen.rotate(((car.heading - this.city.bearing_deg + 90) * Math.PI) / 180);
    pen.beginPath();
    pen.moveTo(0, -size * 1.75);
    pen.arc(0, 0, size, -0.3 * Math.PI, 1.3 * Math.PI);
    pen.closePath();
    pen.lineWidth = 3;
    pen.lineJoin = "round";
    pen.strokeStyle = this.colour("car-ring");
    pen.stroke();
    pen.fillStyle = this.colour(car.colour);
    pen.fill();
    pen.beginPath();
    pen.arc(0, 0, 3, 0, 2 * Math.PI);
    pen.fillStyle = this.colour("car-ring");
    pen.fill();
    pen.restore();
    this.drawTag(pen, car, x);
    pen.restore();
  }

  // The driver's name, to the right of the car unless the map ends there.
  drawTag(pen, { name, colour }, x) {
    pen.font = "600 12px system-ui, sans-serif";
    const width = pen.measureText(name).width + 14;
    const left = x + 18 + width < this.width ? 15 : -15 - width;
    pen.beginPath();
    pen.roundRect(left, -10, width, 20, 10);
    pen.fillStyle = this.colour("card");
    pen.fill();
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillStyle = this.colour(colour);
    pen.fillText(name, left + 7, 0.5);
  }

  drawPickup(pen, now) {
    const [x, y] = this.toScreen(this.toGrid(this.pickup));
    const car = this.cars.get(this.assigned);
    pen.strokeStyle = this.colour("accent");
    if (car) {
      pen.setLineDash([2, 7]);
      pen.lineWidth = 3;
      pen.beginPath();
      pen.moveTo(...this.toScreen(this.place(car, now)));
      pen.lineTo(x, y);
      pen.stroke();
      pen.setLineDash([]);
    }
    const pulse = this.still.matches ? 0.5 : (now / 1_800) % 1;
    pen.globalAlpha = 0.5 * (1 - pulse);
    pen.lineWidth = 2;
    pen.beginPath();
    pen.ellipse(x, y, 4 + 14 * pulse, 4 + 14 * pulse, 0, 0, 2 * Math.PI);
    pen.stroke();
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.bezierCurveTo(x - 3, y - 9, x - 10, y - 12, x - 10, y - 20);
    pen.arc(x, y - 20, 10, Math.PI, 0);
    pen.bezierCurveTo(x + 10, y - 12, x + 3, y - 9, x, y);
    pen.fillStyle = this.colour("accent");
    pen.strokeStyle = this.colour("car-ring");
    pen.stroke();
    pen.fill();
    pen.beginPath();
    pen.arc(x, y - 20, 3.5, 0, 2 * Math.PI);
    pen.fillStyle = this.colour("car-ring");
    pen.fill();
  }
}
