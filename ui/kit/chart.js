// A few values over the last minutes, drawn as lines or as stacked areas. No library: a phone has it at once.
export default {
  template: `
    <figure class="chart" role="group" :aria-label="label">
      <div class="head"><h3>{{ label }}</h3></div>
      <div class="plot" role="img" :aria-label="summary">
        <svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
          <line class="grid-line" x1="0" x2="100" y1="0" y2="0"/><line class="grid-line" x1="0" x2="100" y1="50" y2="50"/>
          <template v-for="(line, index) in lines" :key="index">
            <path v-if="line.area" class="area" :d="line.area" :style="{ fill: colour(index) }"/>
            <path class="series" :d="line.path" :style="{ stroke: colour(index) }"/>
          </template>
        </svg>
        <span class="top" aria-hidden="true">{{ text(most) }}</span>
      </div>
      <div class="axis" aria-hidden="true"><span>{{ ends ? ends[0] : span + " ago" }}</span><span>{{ ends ? ends[1] : "now" }}</span></div>
      <ul class="legend">
        <li v-for="(one, index) in series" :key="one.name"><i :style="{ background: colour(index) }"></i>{{ one.name }} <b>{{ text(last(one)) }}</b></li>
      </ul>
    </figure>`,
  props: { label: String, unit: String, span: String, series: Array, stacked: Boolean, least_top: Number, fixed_top: Number, ends: Array },
  computed: {
    heights() {  // per series and moment: from where to where its mark reaches
      const below = [];
      return this.series.map((one) => one.values.map((value, at) => {
        if (value === null) return null;
        const from = this.stacked ? below[at] || 0 : 0;
        below[at] = from + value;
        return [from, from + value];
      }));
    },
    most() {
      if (this.fixed_top) return this.fixed_top;
      const top = Math.max(this.least_top || 1, ...this.heights.flat().map((height) => (height ? height[1] : 0)));
      const size = 10 ** Math.floor(Math.log10(top));
      return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * size).find((step) => step >= top * 0.9999);
    },
    lines() {
      return this.heights.map((heights) => {
        const x = (at) => (heights.length < 2 ? 100 : (100 * at) / (heights.length - 1)).toFixed(2);
        const y = (value) => (100 - (100 * Math.min(value, this.most)) / this.most).toFixed(2);
        let path = "", area = "", run = [];
        const finish = () => {
          if (!run.length) return;
          path += "M" + run.map((at) => x(at) + " " + y(heights[at][1])).join("L");
          if (run.length === 1) path += "h0.4";
          if (this.stacked) area += "M" + run.map((at) => x(at) + " " + y(heights[at][1])).join("L")
            + "L" + [...run].reverse().map((at) => x(at) + " " + y(heights[at][0])).join("L") + "Z";
          run = [];
        };
        heights.forEach((height, at) => (height ? run.push(at) : finish()));
        finish();
        return { path, area };
      });
    },
    summary() {
      return `${this.label}, ${this.ends ? `${this.ends[0]} to ${this.ends[1]}` : `last ${this.span}`}: ` + this.series.map((one) => {
        const known = one.values.filter((value) => value !== null);
        return known.length ? `${one.name} now ${this.text(this.last(one))}, at most ${this.text(Math.max(...known))}` : `${one.name} not known`;
      }).join("; ");
    },
  },
  methods: {
    colour(index) { return `var(--series-${(index % 4) + 1})`; },
    last(one) { return one.values.filter((value) => value !== null).pop() ?? null; },
    text(value) {
      if (value === null || value === undefined) return "–";
      return (value >= 100 || Number.isInteger(value) ? Math.round(value) : value >= 10 ? value.toFixed(0) : value.toFixed(value < 1 ? 2 : 1)) + (this.unit ? " " + this.unit : "");
    },
  },
};
