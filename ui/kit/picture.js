// A picture with what was found in it. Coordinates are pixels of the picture; lines and words keep their size on the
// screen. Picture and marks change together, when the new picture has arrived; then "shown" is told to the server, which
// sends the next one only after that. While drawing, one box can be drawn by finger, mouse or keys.
export default {
  template: `
    <figure class="picture" :class="{ drawing }" :style="{ aspectRatio: width + ' / ' + height }"
            @pointerdown="begin" @pointermove="drag" @pointerup="end" @pointercancel="end">
      <img v-if="shown.src && !gone" :src="shown.src" :alt="alt" draggable="false" decoding="async">
      <div v-if="gone" class="gone" role="img" :aria-label="alt">The picture is not there any more</div>
      <svg :viewBox="'0 0 ' + shown.width + ' ' + shown.height" preserveAspectRatio="none" aria-hidden="true">
        <template v-for="(mark, index) in visible" :key="index">
          <polygon v-if="mark.kind === 'mask'" class="mask" :points="mark.corners" :style="{ fill: mark.colour, stroke: mark.colour }"/>
          <template v-if="mark.kind === 'box'">
            <rect class="halo" :x="mark.x" :y="mark.y" :width="mark.width" :height="mark.height"/>
            <rect class="line" :x="mark.x" :y="mark.y" :width="mark.width" :height="mark.height" :style="{ stroke: mark.colour }"/>
          </template>
        </template>
      </svg>
      <template v-for="(mark, index) in visible" :key="index">
        <span v-if="mark.kind === 'point'" class="point" aria-hidden="true" :style="pointStyle(mark)"></span>
        <span v-if="mark.kind !== 'whole'" class="mark" aria-hidden="true" :style="labelStyle(mark)">{{ mark.words }}</span>
      </template>
      <div class="whole" aria-hidden="true">
        <span v-for="(mark, index) in wholes" :key="index" class="mark" :style="inks(mark)">{{ mark.words }}</span>
      </div>
      <div v-if="box" ref="box" class="drawn" tabindex="0" role="group" :style="boxStyle" :aria-label="boxLabel"
           @keydown="key" @pointerdown.stop="grab($event, 'move')" @pointermove="drag" @pointerup="end">
        <span class="grip" @pointerdown.stop="grab($event, 'size')" @pointermove="drag" @pointerup="end"></span>
      </div>
    </figure>`,
  props: { src: String, alt: String, width: Number, height: Number, marks: Array, least: Number, drawing: Boolean, drawn: Object },
  emits: ["shown", "drawn"],
  data() {
    return { shown: { src: "", width: 1, height: 1, marks: [] }, gone: false, box: null, grabbed: null };
  },
  computed: {
    sure() { return this.shown.marks.filter((mark) => mark.confidence >= (this.least || 0)); },
    visible() { return this.sure.filter((mark) => mark.kind !== "whole"); },
    wholes() { return this.sure.filter((mark) => mark.kind === "whole"); },
    boxStyle() {
      const b = this.box;
      return { left: this.share(b.x, this.width), top: this.share(b.y, this.height),
               width: this.share(b.width, this.width), height: this.share(b.height, this.height) };
    },
    boxLabel() {
      const b = this.box;
      return `Box at ${b.x}, ${b.y}, ${b.width} wide, ${b.height} high. Arrow keys move it, with Shift they resize it.`;
    },
  },
  watch: {
    src() { this.load(); },
    marks() { if (this.shown.wanted === this.src) this.take(); },
    drawing(on) { if (!on) this.box = null; },
    drawn(value) { this.box = value; },
  },
  mounted() {
    this.box = this.drawn || null;
    this.load();
  },
  unmounted() { this.left = true; },
  methods: {
    come() { this.$nextTick(() => this.$el.scrollIntoView({ behavior: "smooth", block: "nearest" })); },
    share(part, whole) { return (100 * part) / whole + "%"; },
    take() {
      const prefix = this.src.startsWith("/") ? window.path_prefix || "" : "";
      this.shown = { wanted: this.src, src: prefix + this.src, width: this.width, height: this.height, marks: this.marks || [] };
    },
    load() {
      if (!this.src) return;
      const wanted = this.src;
      const image = new Image();
      const arrived = (gone) => () => {
        if (this.left || wanted !== this.src) return;
        this.gone = gone;
        this.take();
        this.$emit("shown", wanted);
      };
      image.onload = arrived(false);
      image.onerror = arrived(true);
      image.src = (wanted.startsWith("/") ? window.path_prefix || "" : "") + wanted;
    },
    inks(mark) { return { background: mark.colour, color: mark.ink }; },
    pointStyle(mark) {
      return { left: this.share(mark.x, this.shown.width), top: this.share(mark.y, this.shown.height), background: mark.colour };
    },
    labelStyle(mark) {
      const { width, height } = this.shown;
      const style = this.inks(mark);
      if (mark.x > 0.6 * width && mark.kind !== "point") style.right = this.share(Math.max(0, width - mark.x - mark.width), width);
      else if (mark.x > 0.6 * width) style.right = this.share(width - mark.x, width);
      else style.left = this.share(Math.max(0, mark.x), width);
      style.top = this.share(Math.max(0, mark.y), height);
      const apart = mark.kind === "point" ? " translateY(-8px)" : "";
      if (mark.y > 0.09 * height) style.transform = "translateY(-100%)" + apart;
      return style;
    },
    at(event) {
      const frame = this.$el.getBoundingClientRect();
      return { x: ((event.clientX - frame.left) / frame.width) * this.width, y: ((event.clientY - frame.top) / frame.height) * this.height };
    },
    begin(event) {
      if (!this.drawing || event.button > 0) return;
      const { x, y } = this.at(event);
      this.grabbed = { how: "size", x, y, from: { x, y, width: 0, height: 0 } };
      this.$el.setPointerCapture(event.pointerId);
      event.preventDefault();
    },
    grab(event, how) {
      this.grabbed = { how, ...this.at(event), from: { ...this.box } };
      event.target.setPointerCapture(event.pointerId);
    },
    drag(event) {
      if (!this.grabbed) return;
      const { x, y } = this.at(event);
      const { how, from } = this.grabbed;
      const [right, down] = [x - this.grabbed.x, y - this.grabbed.y];
      if (how === "move") this.put({ ...from, x: from.x + right, y: from.y + down });
      else {
        const [x2, y2] = [from.x + from.width + right, from.y + from.height + down];
        this.put({ x: Math.min(from.x, x2), y: Math.min(from.y, y2), width: Math.abs(x2 - from.x), height: Math.abs(y2 - from.y) }, true);
      }
    },
    end(event) {
      if (!this.grabbed) return;
      event.stopPropagation();
      this.grabbed = null;
      if (this.box && (this.box.width < 4 || this.box.height < 4)) this.box = null;
      this.$emit("drawn", this.box);
      this.$nextTick(() => this.$refs.box && this.$refs.box.focus({ preventScroll: true }));
    },
    put(box, cut) {
      const within = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
      if (cut) {
        const [x, y] = [within(box.x, this.width), within(box.y, this.height)];
        this.box = { x, y, width: within(box.x + box.width, this.width) - x, height: within(box.y + box.height, this.height) - y };
      } else {
        const [width, height] = [Math.min(box.width, this.width), Math.min(box.height, this.height)];
        this.box = { x: within(box.x, this.width - width), y: within(box.y, this.height - height), width, height };
      }
    },
    key(event) {
      const step = event.altKey ? 1 : Math.max(1, Math.round(Math.max(this.width, this.height) / 100));
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      const b = this.box;
      if (event.shiftKey) this.put({ ...b, width: Math.max(4, b.width + move[0]), height: Math.max(4, b.height + move[1]) }, true);
      else this.put({ ...b, x: b.x + move[0], y: b.y + move[1] });
      this.$emit("drawn", this.box);
    },
  },
};
