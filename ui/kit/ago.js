// How long ago something was, counted in the browser: the box's clock may be wrong, and nothing needs to be sent for it.
export default {
  template: `<span class="muted small number">{{ words }}</span>`,
  props: { age: Number, revision: Number },
  data() { return { begun: Date.now(), now: Date.now() }; },
  computed: {
    words() {
      const seconds = Math.round(this.age + (this.now - this.begun) / 1000);
      if (seconds < 3) return "just now";
      if (seconds < 60) return `${seconds} s ago`;
      if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
      return `${Math.floor(seconds / 3600)} h ago`;
    },
  },
  watch: { revision() { this.begun = this.now = Date.now(); } },
  mounted() { this.timer = setInterval(() => { this.now = Date.now(); }, 1000); },
  unmounted() { clearInterval(this.timer); },
};
